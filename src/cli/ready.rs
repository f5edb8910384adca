//! `domicile ready`: the client of a health check, where there is no other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::CommandError;

/// An answer is a line for each problem; more than this is not ours.
const LONGEST_ANSWER: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub struct Ready {
    /// Address of the gateway's admin listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// How long to wait for the connection, and for each part of the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

impl Ready {
    pub fn run(self) -> Result<ExitCode, CommandError> {
        let answer = ask(self.admin, "/readyz", Duration::from_secs(self.timeout))
            .map_err(|error| format!("no answer from the admin listener at {}: {error}", self.admin))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        match status {
            Some("200") => print!("{body}"),
            Some("503") => eprint!("{body}"),
            _ => return Err(format!("{} is not the admin listener of a gateway", self.admin).into()),
        }
        Ok(ExitCode::from(u8::from(status != Some("200"))))
    }
}

/// The whole answer of the admin listener, head and body.
pub fn ask(admin: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
