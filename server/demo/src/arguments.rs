//! What the binary does with arguments: it says what it is. A server takes none.

use std::ffi::OsString;
use std::io::{self, Write};

use sidecore::Error;

const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n");

const HELP: &str = "\
The demo of sidecore, an HTTP server with task workers built in.

Usage: sidecore-demo [--help | --version]

Without an argument it serves, at 127.0.0.1:8080 unless it is told otherwise. Settings are keys:

  sidecore.toml         has them, in the working directory; or the file that SIDECORE_CONFIG names
  SIDECORE_<KEY>        sets one and wins over the file: SIDECORE_PORT=8081

tuning.md lists the keys, sidecore.example.toml shows each with its default. Variables of the demo:

  SIDECORE_DATA_DIR     directory of a journal; with it there is a pool whose tasks survive the process
  SIDECORE_APPEND_FILE  file to which tasks of the kind `append` write
";

/// Whether the arguments asked for a text instead of a server, which is on standard output then.
pub(crate) fn answer(arguments: impl Iterator<Item = OsString>) -> sidecore::Result<bool> {
    let texts: Vec<&str> = arguments.map(text_for).collect::<sidecore::Result<_>>()?;
    let Some(text) = texts.first() else { return Ok(false) };
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // Who has read enough, such as `head`, has what it wants.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::other(format!(
            "cannot write to standard output: {error}; let it go elsewhere"
        ))),
        _ => Ok(true),
    }
}

fn text_for(argument: OsString) -> sidecore::Result<&'static str> {
    match argument.to_str() {
        Some("--help" | "-h") => Ok(HELP),
        Some("--version" | "-V") => Ok(VERSION),
        _ => Err(Error::other(format!(
            "{argument:?} is no argument of this server: set keys in sidecore.toml or by variables, \
             such as SIDECORE_PORT=8081; --help says more"
        ))),
    }
}
