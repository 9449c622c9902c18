//! Who listens where this process would: a process that lives, or the rest of one that was killed.
//!
//! A ring of io_uring outlives its process for some milliseconds, and so does the listener on which
//! it has an accept: the kernel takes rings apart on threads of its own. Such a listener stands in
//! `/proc/net` and belongs to nobody's descriptors.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// `PF_EXITING` of the kernel's `sched.h`, in the flags of proc_pid_stat(5).
const EXITING: u64 = 4;
/// The states of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`), and its flag in
/// `/proc/net/unix` (`__SO_ACCEPTCON`).
const TCP_LISTEN: &str = "0A";
const UNIX_LISTEN: &str = "00010000";

/// A process that has a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
}

impl Owner {
    /// Who listens on the port, if that is a process which lives and whose descriptors this one may
    /// see.
    pub fn of_port(address: SocketAddr) -> Option<Owner> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let text: String =
            tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
        Owner::of_inodes(&tcp_listeners(&text, address.port()))
    }

    /// The same for the path of a Unix socket.
    pub fn of_path(path: &Path) -> Option<Owner> {
        let text = fs::read_to_string("/proc/net/unix").ok()?;
        Owner::of_inodes(&unix_listeners(&text, path))
    }

    fn of_inodes(inodes: &BTreeSet<&str>) -> Option<Owner> {
        if inodes.is_empty() {
            return None;
        }
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|pid| has_one(*pid, inodes)).find_map(alive)
    }
}

/// Whether the process has one of the sockets open, as far as that may be seen.
fn has_one(pid: u32, inodes: &BTreeSet<&str>) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| {
        let inode =
            target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.contains(inode))
    })
}

/// The process, unless it is being taken apart.
fn alive(pid: u32) -> Option<Owner> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, fields) = stat.rsplit_once(')')?;
    let flags: u64 = fields.split_whitespace().nth(6)?.parse().ok()?;
    let name = head.split_once('(')?.1.to_owned();
    (flags & EXITING == 0).then_some(Owner { pid, name })
}

/// The inodes of the sockets that listen on the port, whatever their address.
fn tcp_listeners(table: &str, port: u16) -> BTreeSet<&str> {
    let port = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == TCP_LISTEN;
            listens.then_some(*fields.get(9)?)
        })
        .collect()
}

/// The inodes of the sockets that listen on the path.
fn unix_listeners<'a>(table: &'a str, path: &Path) -> BTreeSet<&'a str> {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = *fields.get(3)? == UNIX_LISTEN && Path::new(*fields.get(7)?) == path;
            listens.then_some(*fields.get(6)?)
        })
        .collect()
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_tables_name_those_who_listen() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 x\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0 0 4712 1 x\n\
             2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4713 1 x\n";
        assert_eq!(tcp_listeners(tcp, 8080), BTreeSet::from(["4711"]));
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             0: 00000002 00000000 00010000 0001 01 815 /run/app.sock\n\
             0: 00000003 00000000 00000000 0001 03 816 /run/app.sock\n";
        assert_eq!(unix_listeners(unix, Path::new("/run/app.sock")), BTreeSet::from(["815"]));
    }

    #[test]
    fn a_process_that_lives_is_found_and_where_nobody_listens_nobody_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(Owner::of_port(address).map(|owner| owner.pid), Some(std::process::id()));
        drop(listener);
        assert_eq!(Owner::of_port(address), None);
        let path = std::env::temp_dir().join(format!("sidecore-{}-owner", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(Owner::of_path(&path).map(|owner| owner.pid), Some(std::process::id()));
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Owner::of_path(&path), None);
    }
}
