//! The raw epoll loop: level-triggered, one read and one write a request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use slab::Slab;

use super::{Answer, HeadEnds};

const LISTENER: u64 = u64::MAX;
/// How often the loop looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(200);

struct Connection {
    socket: TcpStream,
    heads: HeadEnds,
    /// What the socket did not take at once.
    unsent: Vec<u8>,
}

/// Serves on the calling thread until `stop`.
pub fn serve(listener: &TcpListener, stop: &AtomicBool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut connections: Slab<Connection> = Slab::new();
    let mut events = Vec::with_capacity(512);
    let mut input = vec![0; 16 * 1024];
    let mut output = Vec::with_capacity(64 * 1024);
    let mut answer = Answer::new();
    let look = Timespec::try_from(LOOK).expect("a short time fits");
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), Some(&look)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        answer.keep_fresh();
        for &epoll::Event { flags, data } in &events {
            if data.u64() == LISTENER {
                accept(listener, &poll, &mut connections)?;
                continue;
            }
            let index = data.u64() as usize;
            let Some(connection) = connections.get_mut(index) else { continue };
            let served = match flags.contains(epoll::EventFlags::OUT) {
                true => connection.send_rest(&poll, data),
                false => connection.serve(&poll, data, &answer, &mut input, &mut output),
            };
            if served.is_err() {
                connections.remove(index);
            }
        }
    }
    Ok(())
}

fn accept(
    listener: &TcpListener,
    poll: impl AsFd,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        let data = epoll::EventData::new_u64(entry.key() as u64);
        epoll::add(&poll, &socket, data, epoll::EventFlags::IN)?;
        entry.insert(Connection { socket, heads: HeadEnds::default(), unsent: Vec::new() });
    }
}

impl Connection {
    /// Reads once, answers what ended in it. An error means that the connection is over.
    fn serve(
        &mut self,
        poll: impl AsFd,
        data: epoll::EventData,
        answer: &Answer,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        let count = match self.socket.read(input) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        output.clear();
        answer.append(self.heads.count(&input[..count]), output);
        if output.is_empty() {
            return Ok(());
        }
        let sent = match self.socket.write(output) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < output.len() {
            // Nothing is read until the peer has taken its answers.
            self.unsent.extend_from_slice(&output[sent..]);
            epoll::modify(poll, &self.socket, data, epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    fn send_rest(&mut self, poll: impl AsFd, data: epoll::EventData) -> io::Result<()> {
        let sent = self.socket.write(&self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            epoll::modify(poll, &self.socket, data, epoll::EventFlags::IN)?;
        }
        Ok(())
    }
}
