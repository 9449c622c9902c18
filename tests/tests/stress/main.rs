//! The runtime under stress and random schedules, in this process and without HTTP.

mod local_tasks;
mod pool_simulation;
mod pool_stress;

/// Panics that jobs are asked for are no news; others are told.
fn silence_asked_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if !panic.payload_as_str().is_some_and(|text| text.starts_with("asked to")) {
            eprintln!("{panic}");
        }
    }));
}
