//! What the gateway costs: the same requests directly, through nginx as a plain pass-through, and through Domicile.
//!
//! `cargo bench --bench compare` starts a backend that costs nearly nothing, nginx (if it is installed) and the
//! release binary in front of it, all on loopback, and prints a table. nginx streams uploads, as a gateway does; its
//! default, to receive them whole first, is shown as `nginx-spooling`. Numbers of one run on one machine can be compared
//! with each other, and with nothing else. `-- --quick` runs a tenth; `-- --rounds N` repeats (the best round counts);
//! `-- --only 'PUT 1 KiB'` runs the cases whose names begin so.

mod backend;
mod load;
mod process;
mod targets;

use std::process::ExitCode;

use load::{Load, Measured};
use targets::{Cases, Target, Targets};

/// What is measured: method, size of the body, connections, requests in all.
const CASES: [(Method, usize, usize, usize); 9] = [
    (Method::Get, 1 << 10, 16, 40_000),
    (Method::Get, 64 << 10, 16, 15_000),
    (Method::Get, 8 << 20, 4, 400),
    (Method::Put, 1 << 10, 16, 20_000),
    (Method::Put, 64 << 10, 16, 10_000),
    (Method::Put, 8 << 20, 4, 300),
    (Method::PutTagged, 1 << 10, 16, 20_000),
    (Method::PutTagged, 64 << 10, 16, 10_000),
    (Method::PutTagged, 8 << 20, 4, 300),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    /// Nobody says what it holds: the content alone decides.
    Put,
    /// Declared as `non_personal`; the content is scanned all the same, for labels only add up.
    PutTagged,
}

impl Method {
    /// In tables.
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::PutTagged => "PUT tagged",
        }
    }

    /// On the wire.
    fn verb(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put | Method::PutTagged => "PUT",
        }
    }

    /// Headers beside those of every request.
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Method::Get | Method::Put => &[],
            Method::PutTagged => &[("x-amz-tagging", "data-class=non_personal")],
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match Settings::parse(&arguments) {
        Ok(Settings::Backend) => backend::run(),
        Ok(Settings::Nothing) => {
            println!("nothing measured: run it as `cargo bench --bench compare`");
            Ok(())
        }
        Ok(Settings::Compare { divisor, rounds, only }) => compare(divisor, rounds, &only),
        Err(message) => Err(message.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Settings {
    /// Be the backend, as a child of the run that measures.
    Backend,
    /// Built and started as a test, where nothing should be measured.
    Nothing,
    Compare {
        divisor: usize,
        rounds: usize,
        /// What the names of the cases begin with.
        only: String,
    },
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut divisor, mut rounds, mut only, mut measure) = (1, 2, String::new(), false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--bench" => measure = true,
                "--be-the-backend" => return Ok(Settings::Backend),
                "--quick" => divisor = 10,
                "--rounds" => {
                    let number = rest.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
                    rounds = number.ok_or("--rounds needs a number above 0")?;
                }
                "--only" => only.clone_from(rest.next().ok_or("--only needs the beginning of a name")?),
                other => {
                    return Err(format!("unknown argument `{other}`: --quick, --rounds N or --only NAME"));
                }
            }
        }
        Ok(if measure { Settings::Compare { divisor, rounds, only } } else { Settings::Nothing })
    }
}

fn compare(divisor: usize, rounds: usize, only: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let targets = runtime.block_on(Targets::start())?;
    println!("| request | through | requests/s | MB/s | proxy CPU us/request | against nginx |");
    println!("|---|---|---:|---:|---:|---:|");
    let chosen = CASES.into_iter().filter(|case| title(case.0, case.1).starts_with(only));
    for (method, size, connections, requests) in chosen {
        let requests = (requests / divisor).max(connections);
        let mut best: Vec<Option<Measured>> = vec![None; targets.all().len()];
        // Rounds outside, targets inside: what disturbs the machine for a while disturbs all of them.
        for _ in 0..rounds {
            for (target, best) in targets.all().iter().zip(&mut best) {
                if target.cases == Cases::Uploads && method != Method::Put {
                    continue;
                }
                let measured = runtime.block_on(measure(target, method, size, connections, requests))?;
                if best.as_ref().is_none_or(|best| measured.seconds < best.seconds) {
                    *best = Some(measured);
                }
            }
        }
        print_case(&targets, method, size, &best);
    }
    Ok(())
}

async fn measure(
    target: &Target,
    method: Method,
    size: usize,
    connections: usize,
    requests: usize,
) -> Result<Measured, Error> {
    let load = Load { target, method, size, connections };
    load.run(connections * 2).await.map_err(|error| format!("{}: {error}", target.name))?;
    let before = target.cpu_seconds()?;
    let mut measured = load.run(requests).await.map_err(|error| format!("{}: {error}", target.name))?;
    measured.proxy_seconds = target.cpu_seconds()?.zip(before).map(|(after, before)| after - before);
    Ok(measured)
}

fn print_case(targets: &Targets, method: Method, size: usize, measured: &[Option<Measured>]) {
    let cost = |measured: &Measured| Some(measured.proxy_seconds? * 1e6 / measured.requests as f64);
    let nginx = targets.all().iter().zip(measured).find(|(target, _)| target.name == "nginx");
    let nginx = nginx.and_then(|(_, measured)| measured.as_ref()).and_then(cost).filter(|cost| *cost > 0.0);
    for (target, measured) in targets.all().iter().zip(measured) {
        let Some(measured) = measured else { continue };
        let rate = measured.requests as f64 / measured.seconds;
        let cpu = cost(measured);
        let ratio = cpu.zip(nginx).filter(|_| target.name != "nginx").map(|(cpu, nginx)| cpu / nginx);
        println!(
            "| {} | {} | {rate:.0} | {:.0} | {} | {} |",
            title(method, size),
            target.name,
            rate * size as f64 / 1e6,
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x")),
        );
    }
}

fn title(method: Method, size: usize) -> String {
    format!("{} {}", method.name(), human(size))
}

fn human(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}
