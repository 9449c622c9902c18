//! Two futures, of which the first to be ready counts.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

pub(crate) enum Either<L, R> {
    Left(L),
    Right(R),
}

/// The first of two futures to be ready; the other is dropped.
pub(crate) async fn either<L>(
    mut left: Pin<&mut impl Future<Output = ()>>,
    right: impl Future<Output = L>,
) -> Either<(), L> {
    let mut right = pin!(right);
    std::future::poll_fn(|context| {
        if left.as_mut().poll(context).is_ready() {
            return Poll::Ready(Either::Left(()));
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}
