//! A panic of the application, caught: the panic hook has reported it, here the cure is added.

use sidecore_runtime::sys::panics;
use sidecore_runtime::sys::stderr;

/// What tokio says where no runtime of its is entered on the thread.
const NO_TOKIO: &str = "there is no reactor running, must be called from the context of a Tokio";

/// Calls what is the application's. None: it panicked; what to do about that is said on standard
/// error, where it is known.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let advise = |message: String| {
        if let Some(advice) = advice(&message) {
            stderr::line(format_args!("{advice}"));
        }
    };
    panics::caught(call).map_err(advise).ok()
}

fn advice(message: &str) -> Option<&'static str> {
    message.starts_with(NO_TOKIO).then_some(
        "what panicked needs tokio, which the executors do not run: give the server \
         `.with_tokio()` (feature `tokio` of the crate sidecore)",
    )
}

#[cfg(test)]
mod tests {
    use crate::http::http1::panicked::{advice, caught};

    #[test]
    fn the_panic_of_a_missing_tokio_gets_its_cure_and_others_nothing() {
        let text = "there is no reactor running, must be called from the context of a Tokio 1.x \
                    runtime";
        assert!(advice(text).is_some_and(|advice| advice.contains("with_tokio")));
        assert!(advice("index out of bounds").is_none());
        assert_eq!(caught(|| 7), Some(7));
        assert!(caught(|| std::panic::panic_any(7)).is_none());
    }
}
