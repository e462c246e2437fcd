//! A program as a plain core module with `_start`, on WASI preview 1: what many compilers still
//! make. Behaves as `hello-command`: prints its arguments and environment and ends with the exit
//! code that its first argument names (0 to 255; none is 0; anything else is 2 and a line on
//! standard error).
//!
//! Uses the preview 1 functions directly, so it needs no WASI C library to build.

use wasip1::{Ciovec, Errno, Size};

const STDOUT: wasip1::Fd = 1;
const STDERR: wasip1::Fd = 2;

/// The program: what a command module exports.
#[unsafe(no_mangle)]
extern "C" fn _start() {
    let mut text = String::from("hello from a program\n");
    // SAFETY: `strings` hands both functions buffers of the sizes that the host named.
    let (arguments, environment) = unsafe {
        (
            strings(wasip1::args_sizes_get, |list, bytes| wasip1::args_get(list, bytes)),
            strings(wasip1::environ_sizes_get, |list, bytes| wasip1::environ_get(list, bytes)),
        )
    };
    // The first one is the program's own name.
    let arguments = arguments.get(1..).unwrap_or_default();
    for argument in arguments {
        text += &format!("argument {argument}\n");
    }
    for variable in &environment {
        text += &format!("environment {variable}\n");
    }
    write(STDOUT, &text);
    match arguments.first().map(|code| code.parse::<u8>()) {
        None => {}
        Some(Ok(code)) => exit(code),
        Some(Err(_)) => {
            write(STDERR, "the first argument is no exit code (0 to 255)\n");
            exit(2)
        }
    }
}

fn exit(code: u8) -> ! {
    // SAFETY: takes a number, touches no memory and does not return.
    unsafe { wasip1::proc_exit(code.into()) };
    core::arch::wasm32::unreachable()
}

/// Reads a list of strings, arguments or environment, in the two steps of preview 1. Empty when the
/// host refuses.
///
/// # Safety
/// `get` must write at most as many pointers and bytes as `sizes` said.
unsafe fn strings(
    sizes: unsafe fn() -> Result<(Size, Size), Errno>,
    get: impl Fn(*mut *mut u8, *mut u8) -> Result<(), Errno>,
) -> Vec<String> {
    // SAFETY: takes nothing and returns two numbers.
    let Ok((count, bytes)) = (unsafe { sizes() }) else { return Vec::new() };
    let mut pointers = vec![std::ptr::null_mut::<u8>(); count];
    let mut buffer = vec![0_u8; bytes];
    if get(pointers.as_mut_ptr(), buffer.as_mut_ptr()).is_err() {
        return Vec::new();
    }
    // One zero byte ends each string, the last one too.
    let text = buffer.strip_suffix(&[0]).unwrap_or(&buffer);
    if count == 0 {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Writes all of the text; gives up at the first error, as there is no one left to tell.
fn write(stream: wasip1::Fd, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let part = [Ciovec { buf: rest.as_ptr(), buf_len: rest.len() }];
        // SAFETY: the part points into `rest`, which outlives the call.
        match unsafe { wasip1::fd_write(stream, &part) } {
            Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
            _ => return,
        }
    }
}
