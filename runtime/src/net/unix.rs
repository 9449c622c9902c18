//! Listening Unix sockets, and the files that they leave behind.
//!
//! A socket's file outlives its listener where a process was killed. Such a file is replaced if
//! nobody listens on it; one that somebody listens on is left alone, and so is any other file.
//!
//! Between the two looks, and between bind and listen, another server that starts might take a new
//! socket for such a rest. So each holds a lock on the directory meanwhile (flock(2)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{self, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{self as sys, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::bind_error::BindError;

/// How often, and how long after one another, the lock of a directory is asked for.
const LOCK_TRIES: usize = 400;
const LOCK_PAUSE: Duration = Duration::from_micros(500);

/// The file of a listening Unix socket. Dropping it removes the file, unless another one has taken
/// its place.
#[derive(Debug)]
pub struct UnixPath {
    path: PathBuf,
    /// Keeps the inode, so that no other file gets its number.
    file: OwnedFd,
}

/// Listens on a path, whose file gets `mode`, before anybody can connect. One socket for all
/// executors: `SO_REUSEPORT` does not spread the connections of Unix sockets.
///
/// # Errors
/// [`BindError`]: somebody listens there, what is there is no socket, or the directory refuses it.
pub fn bind_unix(path: &Path, mode: u32, backlog: i32) -> Result<(UnixPath, OwnedFd), BindError> {
    let failed = |cause: Errno| BindError::unix(path, cause.into());
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket = new_socket().map_err(failed)?;
    let _alone = lock_directory(path);
    match sys::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, &address)?;
            sys::bind(&socket, &address).map_err(failed)?;
        }
        bound => bound.map_err(failed)?,
    }
    let made = UnixPath::of(path).map_err(failed)?;
    fs::chmod(path, Mode::from_raw_mode(mode)).map_err(failed)?;
    sys::listen(&socket, backlog).map_err(failed)?;
    Ok((made, socket))
}

/// The lock, until it is dropped. None: the directory cannot be locked, or somebody keeps the lock,
/// who need not be a server; then it goes without.
fn lock_directory(path: &Path) -> Option<OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        fs::open(directory.unwrap_or_else(|| Path::new(".")), flags, Mode::empty()).ok()?;
    for _ in 0..LOCK_TRIES {
        match fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_PAUSE),
            Err(_) => return None,
        }
    }
    None
}

/// Removes the file of a socket that nobody listens on.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let failed = |cause: Errno| BindError::unix(path, cause.into());
    let there = fs::lstat(path).map_err(failed)?;
    if FileType::from_raw_mode(there.st_mode) != FileType::Socket {
        return Err(BindError::no_socket(path));
    }
    // Only a refusal says that nobody listens: a full backlog, for instance, says the contrary.
    match sys::connect(&new_socket().map_err(failed)?, address) {
        Err(Errno::CONNREFUSED) => fs::unlink(path).map_err(failed),
        Err(Errno::ACCESS) => Err(failed(Errno::ACCESS)),
        _ => Err(failed(Errno::ADDRINUSE)),
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    sys::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

impl UnixPath {
    fn of(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::open(path, flags, Mode::empty())?;
        Ok(UnixPath { path: path.to_owned(), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_still_there(&self) -> io::Result<bool> {
        let (mine, there) = (fs::fstat(&self.file)?, fs::lstat(&self.path)?);
        let which = |stat: &Stat| (stat.st_dev, stat.st_ino);
        Ok(which(&mine) == which(&there))
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if let Ok(true) = self.is_still_there() {
            let _ = fs::unlink(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sidecore-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_its_owner() {
        let path = scratch("mode.sock");
        let (made, socket) = bind_unix(&path, 0o640, 8).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(UnixStream::connect(&path).is_ok());
        drop((made, socket));
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let path = scratch("stale.sock");
        let live = UnixListener::bind(&path).unwrap();
        let error = bind_unix(&path, 0o600, 8).unwrap_err().to_string();
        assert!(error.contains("in use by another process"), "{error}");
        drop(live);
        assert!(path.exists());
        let (made, _socket) = bind_unix(&path, 0o600, 8).unwrap();
        assert!(UnixStream::connect(made.path()).is_ok());
    }

    /// Two that find the rest of a killed server at the same moment: one listens there.
    #[test]
    fn of_two_that_find_a_stale_socket_one_takes_its_place() {
        let path = scratch("race.sock");
        for _ in 0..3_000 {
            drop(UnixListener::bind(&path).unwrap());
            let barrier = std::sync::Barrier::new(2);
            let come = || {
                barrier.wait();
                bind_unix(&path, 0o600, 8)
            };
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(come);
                [come(), other.join().unwrap()]
            });
            assert_eq!(both.iter().filter(|bound| bound.is_ok()).count(), 1, "{both:?}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let path = scratch("file.sock");
        std::fs::write(&path, "mine").unwrap();
        let error = bind_unix(&path, 0o600, 8).unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let path = scratch("successor.sock");
        let (first, socket) = bind_unix(&path, 0o600, 8).unwrap();
        drop(socket);
        let (second, _socket) = bind_unix(&path, 0o600, 8).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_cannot_be_says_why() {
        let error = bind_unix(Path::new("/nonexistent/x.sock"), 0o600, 8).unwrap_err().to_string();
        assert!(error.contains("its directory is not there"), "{error}");
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        let error = bind_unix(&long, 0o600, 8).unwrap_err().to_string();
        assert!(error.contains("107 bytes"), "{error}");
    }
}
