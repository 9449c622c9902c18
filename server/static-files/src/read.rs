//! Reading without holding an executor up.
//!
//! What the page cache has is read on the executor, by preadv2(2) with `RWF_NOWAIT`, and paths are
//! opened there with `RESOLVE_CACHED`: both fail with `EAGAIN` where they would wait for a disk.
//! What fails so is done by a task worker, and its finish comes home as any task's. A mapped file
//! would do neither: a page fault waits wherever it happens, and nothing says so beforehand.
//!
//! Where there is no task worker for it, or their queue is full, the executor waits for the disk
//! itself, for one piece at a time: which is the back-pressure of last resort.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sidecore::Tasks;
use sidecore::tasks::closures::{Call, Closure, ClosureOutput, Closures};

use crate::tree::{Identity, ReadMode};

/// A piece of a file that one look at the page cache reads, and one frame of a body.
const PIECE_BYTES: usize = 64 * 1024;
/// A piece that a task worker reads: larger, for it costs a trip.
const COLD_PIECE_BYTES: usize = 256 * 1024;

/// Who waits for the disk.
#[derive(Clone, Default)]
pub(crate) struct DiskWorkers(pub(crate) Option<Tasks<Closure, ClosureOutput>>);

/// Something that looks at the disk: done, or on its way.
pub(crate) enum DiskCall<T> {
    Done(Option<io::Result<T>>),
    Sent(Call<io::Result<T>>),
}

impl DiskWorkers {
    /// Tries `work` here, and has it done where waiting harms nobody if it would wait.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Fn(ReadMode) -> io::Result<T> + Clone + Send + 'static,
    ) -> DiskCall<T> {
        match work(ReadMode::Cached) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return DiskCall::Done(Some(looked)),
        }
        if let Some(tasks) = &self.0 {
            let elsewhere = work.clone();
            let call = tasks.call(move |_task| elsewhere(ReadMode::Blocking));
            if call.handle().is_some() {
                return DiskCall::Sent(call);
            }
        }
        DiskCall::Done(Some(work(ReadMode::Blocking)))
    }
}

// What it holds is not pinned in place.
impl<T> Unpin for DiskCall<T> {}

impl<T: 'static> Future for DiskCall<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match &mut *self {
            DiskCall::Done(looked) => Poll::Ready(looked.take().unwrap_or_else(|| {
                Err(io::Error::other("a look at the disk was asked for its outcome twice"))
            })),
            DiskCall::Sent(call) => Pin::new(call).poll(context).map(|called| match called {
                Ok(looked) => looked,
                Err(error) => Err(io::Error::other(error.to_string())),
            }),
        }
    }
}

/// Reads a piece of a file: up to `length` bytes from `at`; none at the end of the file.
pub(crate) fn read_piece(
    file: &OwnedFd,
    at: u64,
    length: u64,
    mode: ReadMode,
) -> io::Result<Bytes> {
    let piece = match mode {
        ReadMode::Cached => PIECE_BYTES,
        ReadMode::Blocking => COLD_PIECE_BYTES,
    };
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(piece).min(piece)];
    let count = read_at(file, &mut bytes, at, mode)?;
    bytes.truncate(count);
    Ok(bytes.into())
}

/// Reads all of a file that was found to have this identity; None if it has changed meanwhile.
pub(crate) fn read_whole(
    file: &OwnedFd,
    identity: &Identity,
    mode: ReadMode,
) -> io::Result<Option<Bytes>> {
    let mut bytes = vec![0; usize::try_from(identity.size).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match read_at(file, &mut bytes[filled..], filled as u64, mode)? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
    Ok(identity.has_content_of(&Identity::now(file)?).then(|| bytes.into()))
}

fn read_at(file: &OwnedFd, into: &mut [u8], at: u64, mode: ReadMode) -> io::Result<usize> {
    let mut flags = match mode {
        ReadMode::Cached => ReadWriteFlags::NOWAIT,
        ReadMode::Blocking => ReadWriteFlags::empty(),
    };
    loop {
        match preadv2(file, &mut [IoSliceMut::new(into)], at, flags) {
            Err(Errno::INTR) => {}
            // A file system that cannot say whether it would wait: it is taken to.
            Err(Errno::OPNOTSUPP) if mode == ReadMode::Cached => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(Errno::AGAIN) if mode == ReadMode::Blocking => flags = ReadWriteFlags::empty(),
            read => return Ok(read?),
        }
    }
}
