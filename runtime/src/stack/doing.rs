//! What a thread does, as far as the kernel tells.

/// Of a thread of this process: its state and, where it waits, in which function (proc(5), `stat` and
/// `wchan`).
pub(crate) fn doing(thread_id: u32) -> String {
    let of = |file: &str| std::fs::read_to_string(format!("/proc/self/task/{thread_id}/{file}"));
    let stat = of("stat").unwrap_or_default();
    // The name before it is in brackets and may hold anything.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    match (state, of("wchan").unwrap_or_default().trim()) {
        (Some('R'), _) => "running".to_owned(),
        (Some('D'), "" | "0") => "waiting for a device".to_owned(),
        (Some(_), "" | "0") => "waiting".to_owned(),
        (Some(_), place) => format!("waiting in {place}"),
        (None, _) => "unknown".to_owned(),
    }
}
