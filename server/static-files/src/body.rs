//! The body of an answer from a file: bytes that are held, or pieces read as they are sent.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::read::{DiskCall, DiskWorkers, read_piece};
use crate::tree::Identity;

/// The body of an answer from a file; what is read is what is sent next, a piece at a time, so
/// that a slow client costs one piece and an open file whatever the size is.
///
/// It ends with a [`FileError`] where the file cannot give what was promised, and then the
/// connection ends as well. What is appended to it meanwhile, as to a log, is none of that: it is
/// sent up to the length that was told. Dropping it closes the file.
pub struct FileBody {
    parts: VecDeque<Part>,
    /// Bytes of all parts that have not been handed over.
    left: u64,
    source: Option<Source>,
    reading: Option<DiskCall<Bytes>>,
}

/// A file that is open and as it was found.
pub(crate) struct Source {
    pub(crate) name: Vec<u8>,
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) identity: Identity,
    pub(crate) disk_workers: DiskWorkers,
}

/// What a body has to give, in order.
pub(crate) enum Part {
    Held(Bytes),
    /// Of the file.
    Read(Range<u64>),
}

/// A file failed while it was sent.
#[derive(Debug)]
pub struct FileError {
    name: String,
    failure: Failure,
}

#[derive(Debug)]
enum Failure {
    /// It has become shorter than it was when its length was told.
    Shrunk,
    /// It was written to meanwhile, so what was sent is of no one version of it. A file that is
    /// replaced by renaming another over it is sent on as it was.
    Changed,
    Io(io::Error),
}

impl FileBody {
    /// A body without bytes.
    pub(crate) fn empty() -> Self {
        FileBody { parts: VecDeque::new(), left: 0, source: None, reading: None }
    }

    pub(crate) fn new(parts: VecDeque<Part>, source: Option<Source>) -> Self {
        let length = |part: &Part| match part {
            Part::Held(bytes) => bytes.len() as u64,
            Part::Read(range) => range.end - range.start,
        };
        FileBody { left: parts.iter().map(length).sum(), parts, source, reading: None }
    }

    /// Begins to read what is next, unless it is held.
    fn next(&mut self) -> Option<Result<Bytes, FileError>> {
        loop {
            match self.parts.front() {
                None => return None,
                Some(Part::Read(range)) if range.is_empty() => {}
                Some(Part::Read(range)) => {
                    let Some(Source { file, disk_workers, .. }) = &self.source else {
                        return Some(Err(self.failed(Failure::Shrunk)));
                    };
                    let (file, range) = (file.clone(), range.clone());
                    self.reading = Some(disk_workers.run(move |mode| {
                        read_piece(&file, range.start, range.end - range.start, mode)
                    }));
                    return None;
                }
                Some(Part::Held(_)) => {}
            }
            if let Some(Part::Held(bytes)) = self.parts.pop_front()
                && !bytes.is_empty()
            {
                return Some(Ok(bytes));
            }
        }
    }

    /// What came of a read.
    fn take(&mut self, read: io::Result<Bytes>) -> Result<Bytes, FileError> {
        let bytes = read.map_err(|error| self.failed(Failure::Io(error)))?;
        match self.parts.front_mut() {
            Some(Part::Read(range)) if !bytes.is_empty() => range.start += bytes.len() as u64,
            _ => return Err(self.failed(Failure::Shrunk)),
        }
        Ok(bytes)
    }

    fn failed(&self, failure: Failure) -> FileError {
        let name = self.source.as_ref().map_or(&b""[..], |source| &source.name);
        FileError { name: String::from_utf8_lossy(name).into_owned(), failure }
    }

    /// The last piece goes only where the file is still the one that the others are from: without
    /// it the answer is visibly incomplete. A file that has grown is taken to have been appended to:
    /// whoever writes within a file makes it no longer.
    fn check(&self, last: &Bytes) -> Result<(), FileError> {
        let Some(source) = self.source.as_ref().filter(|_| self.left == last.len() as u64) else {
            return Ok(());
        };
        let now = Identity::now(&source.file).map_err(|error| self.failed(Failure::Io(error)))?;
        match now.size.cmp(&source.identity.size) {
            Ordering::Less => Err(self.failed(Failure::Shrunk)),
            Ordering::Equal if !source.identity.has_content_of(&now) => {
                Err(self.failed(Failure::Changed))
            }
            Ordering::Equal | Ordering::Greater => Ok(()),
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = FileError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FileError>>> {
        let this = &mut *self;
        let next = if this.reading.is_some() { None } else { this.next() };
        let piece = match (next, &mut this.reading) {
            (Some(piece), _) => piece,
            (None, None) => return Poll::Ready(None),
            (None, Some(reading)) => {
                let read = ready!(Pin::new(reading).poll(context));
                this.reading = None;
                this.take(read)
            }
        };
        let checked = piece.and_then(|piece| this.check(&piece).map(|()| piece));
        match &checked {
            Ok(piece) => this.left -= piece.len() as u64,
            // Nothing follows an error.
            Err(_) => this.parts.clear(),
        }
        Poll::Ready(Some(checked.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody").field("left", &self.left).finish_non_exhaustive()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.failure {
            Failure::Shrunk => write!(
                f,
                "the file {name:?} became shorter while it was sent: replace files by renaming new \
                 ones over them"
            ),
            Failure::Changed => write!(
                f,
                "the file {name:?} was written to while it was sent: replace files by renaming new \
                 ones over them"
            ),
            Failure::Io(error) => write!(f, "the file {name:?} cannot be read: {error}"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            Failure::Io(cause) => Some(cause),
            _ => None,
        }
    }
}
