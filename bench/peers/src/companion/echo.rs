//! Echo servers of a host's own sockets. Each returns its address, and serves until the host ends.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use sidecore_runtime::executor::spawn_local;
use sidecore_runtime::net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn listener() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Over the executor's ring.
pub(crate) fn on_the_ring() -> io::Result<SocketAddr> {
    let (listener, address) = listener()?;
    let listener = net::TcpListener::from_socket(listener.into());
    spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            spawn_local(async move {
                let mut bytes = Vec::new();
                while poll_fn(|context| stream.poll_recv(context, &mut bytes))
                    .await
                    .is_ok_and(|n| n > 0)
                {
                    stream.write(|out| out.append(&mut bytes));
                    stream.flush();
                }
            });
        }
    });
    Ok(address)
}

/// Over tokio's sockets, polled by this executor and woken by the companion.
pub(crate) fn through_the_companion() -> io::Result<SocketAddr> {
    let (listener, address) = tokio_listener()?;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(echo(stream));
        }
    });
    Ok(address)
}

/// Over tokio's sockets on their own runtime.
pub(crate) fn on_tokio() -> io::Result<SocketAddr> {
    let (listener, address) = tokio_listener()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    Ok(address)
}

fn tokio_listener() -> io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let (listener, address) = listener()?;
    listener.set_nonblocking(true)?;
    Ok((tokio::net::TcpListener::from_std(listener)?, address))
}

async fn echo(mut stream: tokio::net::TcpStream) {
    // As the ring's sockets have it.
    let _ = stream.set_nodelay(true);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
