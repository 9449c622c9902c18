//! A task of either pool, dispatched and awaited.

use http::StatusCode;
use sidecore::app::Plain;
use sidecore::durable::{DurableRun, DurableRunError};
use sidecore::tasks::{Run, RunError, TaskError};

use crate::answer::{plain_error, refuse_dispatch, refuse_durable};
use crate::job::{Job, Output};

/// A task whose outcome is awaited.
pub(crate) enum Begun {
    Plain(Run<Job, Output>),
    Durable(DurableRun<Job, Output>),
}

/// Why there is no output.
pub(crate) enum Unfinished {
    /// It was not accepted: the cause, and the answer to who asks for this task alone.
    Refused {
        cause: String,
        answer: Plain,
    },
    Failed(TaskError),
}

impl Begun {
    /// Its output.
    pub(crate) async fn end(self) -> Result<Output, Unfinished> {
        match self {
            Begun::Plain(run) => run.await.map_err(Unfinished::from),
            Begun::Durable(run) => run.await.map_err(Unfinished::from),
        }
    }
}

impl From<RunError<Job>> for Unfinished {
    fn from(error: RunError<Job>) -> Self {
        let cause = error.to_string();
        match error {
            RunError::Failed(error) => Unfinished::Failed(error),
            RunError::Refused(refused) => {
                Unfinished::Refused { cause, answer: refuse_dispatch(&refused) }
            }
            RunError::WrongThread => {
                let answer = plain_error(StatusCode::INTERNAL_SERVER_ERROR, &cause);
                Unfinished::Refused { cause, answer }
            }
        }
    }
}

impl From<DurableRunError<Job>> for Unfinished {
    fn from(error: DurableRunError<Job>) -> Self {
        match error {
            DurableRunError::Failed(error) => Unfinished::Failed(error),
            DurableRunError::Refused(refused) => {
                let cause = refused.to_string();
                Unfinished::Refused { cause, answer: refuse_durable(&refused) }
            }
        }
    }
}
