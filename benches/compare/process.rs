//! Child processes that end with the run, and what CPU time they use.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Error;

/// A child process, killed when it is dropped.
pub struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self, Error> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Process { child, name })
    }

    /// Starts a process whose first line of output is its port.
    pub fn start_with_port(name: &'static str, command: &mut Command) -> Result<(Self, u16), Error> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut process = Process { child, name };
        let output = process.child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().map_err(|_| format!("{name} said `{line}` instead of its port"))?;
        Ok((process, port))
    }

    /// Waits until the process accepts connections.
    pub fn wait_for(&mut self, address: SocketAddr) -> Result<(), Error> {
        let begun = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended at once: {status}", self.name).into());
            }
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(format!("{} does not listen on {address}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// User and system time of the process and its living descendants, from `/proc`.
    pub fn cpu_seconds(&self) -> Result<f64, Error> {
        let mut ticks_of: HashMap<u32, (u32, u64)> = HashMap::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Processes come and go while we look.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            if let Some(found) = parse_stat(&stat) {
                ticks_of.insert(pid, found);
            }
        }
        let root = self.child.id();
        let belongs = |mut pid: u32| {
            while pid != root {
                match ticks_of.get(&pid) {
                    Some((parent, _)) if *parent != pid && *parent != 0 => pid = *parent,
                    _ => return false,
                }
            }
            true
        };
        let ticks: u64 = ticks_of.iter().filter(|(pid, _)| belongs(**pid)).map(|(_, (_, ticks))| ticks).sum();
        Ok(ticks as f64 / ticks_per_second())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // The gentle way first: a killed nginx master would leave its workers behind.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Parent and used ticks. The name in parentheses may hold blanks: what counts comes after it (proc(5)).
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, ticks(11)? + ticks(12)?))
}

fn ticks_per_second() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(100.0)
}
