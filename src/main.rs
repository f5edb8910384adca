//! The `domicile` program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    domicile::cli::main()
}
