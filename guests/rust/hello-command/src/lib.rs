//! A program, `wasi:cli/command` as a component: prints its arguments and environment and ends with
//! the exit code that its first argument names (0 to 255; none is 0; anything else is 2 and a line
//! on standard error).
//!
//! Uses the WASI 0.2 interfaces directly, so it needs no WASI C library to build.

use wasip2::cli::{environment, exit, stderr, stdout};
use wasip2::io::streams::OutputStream;

/// `blocking-write-and-flush` takes at most this many bytes at a time (WASI 0.2, `wasi:io`).
const WRITE_BYTES_MAX: usize = 4096;

struct Hello;

impl wasip2::exports::cli::run::Guest for Hello {
    fn run() -> Result<(), ()> {
        let mut text = String::from("hello from a program\n");
        let arguments = environment::get_arguments();
        // The first one is the program's own name.
        let arguments = arguments.get(1..).unwrap_or_default();
        for argument in arguments {
            text += &format!("argument {argument}\n");
        }
        for (name, value) in environment::get_environment() {
            text += &format!("environment {name}={value}\n");
        }
        write(&stdout::get_stdout(), &text)?;
        match arguments.first().map(|code| code.parse()) {
            None => Ok(()),
            Some(Ok(code)) => {
                exit::exit_with_code(code);
                Err(())
            }
            Some(Err(_)) => {
                write(&stderr::get_stderr(), "the first argument is no exit code (0 to 255)\n")?;
                exit::exit_with_code(2);
                Err(())
            }
        }
    }
}

fn write(stream: &OutputStream, text: &str) -> Result<(), ()> {
    for chunk in text.as_bytes().chunks(WRITE_BYTES_MAX) {
        stream.blocking_write_and_flush(chunk).map_err(|_| ())?;
    }
    Ok(())
}

wasip2::cli::command::export!(Hello);
