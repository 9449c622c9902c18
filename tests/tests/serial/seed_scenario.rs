//! The scenario that names the project.

use sidecore_tests::seed_scenario;

use super::alone;

#[test]
fn plain_requests_do_not_notice_sleeping_tasks() {
    let _alone = alone();
    let outcome = seed_scenario::run();
    assert!(outcome.median().p99_ratio() <= 2.0, "{outcome:#?}");
    // SIGTERM came while they slept: each was finished and delivered nevertheless.
    assert_eq!(outcome.ended.count("finished"), 8, "{outcome:#?}");
}
