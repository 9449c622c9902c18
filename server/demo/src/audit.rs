//! Middleware that triggers a task on every request under `/audited/` and goes on at once.

use http::Request;
use sidecore::tasks::trigger::{Dispatcher, TriggerTask};

use crate::app::App;
use crate::job::Job;

const PREFIX: &str = "/audited/";

/// Triggers its tasks through `app`, which remembers them. The request goes on whether or not there
/// was room; the answer says which.
pub(crate) fn trigger_audit<B>(
    app: App,
) -> TriggerTask<impl Dispatcher<Job>, impl Fn(&Request<B>) -> Option<Job>> {
    TriggerTask::before(move |job| app.dispatch(job), audit_of).tell_client()
}

fn audit_of<B>(request: &Request<B>) -> Option<Job> {
    let path = request.uri().path();
    let audit = || Job::Audit { method: request.method().to_string(), path: path.to_owned() };
    path.starts_with(PREFIX).then(audit)
}
