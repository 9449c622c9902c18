//! A panic of the application, caught: the panic hook has reported it, here the cure is added.

use std::any::Any;

use sidecore_runtime::panics::drop_quietly;
use sidecore_runtime::stderr;

/// What tokio says where no runtime of its is entered on the thread.
const NO_TOKIO: &str = "there is no reactor running, must be called from the context of a Tokio";

/// Says on standard error what to do about a panic, where that is known. The payload is the
/// application's, and may panic as it is dropped.
pub(crate) fn advise(payload: Box<dyn Any + Send>) {
    if let Some(advice) = advice(&*payload) {
        stderr::line(format_args!("{advice}"));
    }
    drop_quietly(payload);
}

fn advice(payload: &(dyn Any + Send)) -> Option<&'static str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied())?;
    text.starts_with(NO_TOKIO).then_some(
        "what panicked needs tokio, which the executors do not run: give the server \
         `.with_tokio()` (feature `tokio` of the crate sidecore)",
    )
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn the_panic_of_a_missing_tokio_gets_its_cure_and_others_nothing() {
        let text = "there is no reactor running, must be called from the context of a Tokio 1.x \
                    runtime";
        assert!(advice(&text).is_some_and(|advice| advice.contains("with_tokio")));
        assert!(advice(&text.to_owned()).is_some());
        assert!(advice(&"index out of bounds").is_none());
        assert!(advice(&7).is_none());
    }
}
