//! `loop-companion`: the helper behind CodexLoop.

use std::process::ExitCode;

fn main() -> ExitCode {
    loop_companion::cli::main(std::env::args_os())
}
