//! The project's scenario for anyone to run: what sleeping tasks cost plain requests.
//!
//! `cargo run --release -p sidecore-tests --bin seed-scenario`

use std::process::ExitCode;

use sidecore_tests::seed_scenario;

fn main() -> ExitCode {
    println!("two servers; one sleeps in all its task workers, with more sleeps queued …");
    let outcome = seed_scenario::run();
    println!("GET /, request by request in turn:   without tasks      beside sleeping tasks");
    for block in &outcome.blocks {
        let ((p50, p99), (busy_p50, busy_p99)) = (block.alone, block.beside_sleeps);
        println!(
            "  p50 {p50:>9.1?}  p99 {p99:>9.1?}     p50 {busy_p50:>9.1?}  p99 {busy_p99:>9.1?}     \
             p99 ratio {:.2}",
            block.p99_ratio()
        );
    }
    let ratio = outcome.median().p99_ratio();
    println!("p99 beside sleeping tasks over p99 without, median: {ratio:.2} (at most 2)");
    println!("SIGTERM while they slept: {}", outcome.ended.log.last().expect("its last line"));
    if ratio <= 2.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
