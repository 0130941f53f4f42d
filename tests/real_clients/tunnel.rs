//! TLS for a client that speaks only TCP: a port on loopback whose connections go on to the
//! server in TLS, one each. Of the client's SIP only the transport in its Vias is changed: it knows
//! of no TLS, and a Via must name what it came by.

// A session is read by one thread and written by another; no shard is near.
#![allow(clippy::disallowed_types)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::ClientConnection;

use super::certificate::Certificate;

/// Opens a tunnel towards `server` and returns its near end. It ends with the test's process.
pub fn open(server: SocketAddr, certificate: Certificate) -> SocketAddr {
    let any = SocketAddr::new(server.ip(), 0);
    let listener = TcpListener::bind(any).expect("a port");
    let near = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let session = certificate.client(server.ip());
            // A client that is refused sees its connection end, and says so.
            let Ok(socket) = TcpStream::connect(server) else { continue };
            thread::spawn(move || carry(client, socket, session));
        }
    });
    near
}

/// Carries bytes both ways until either side ends.
fn carry(client: TcpStream, mut socket: TcpStream, mut session: ClientConnection) {
    // What is written once is sent at once, as SIPp's own sockets do.
    let _ = (client.set_nodelay(true), socket.set_nodelay(true));
    while session.is_handshaking() {
        if let Err(error) = session.complete_io(&mut socket) {
            eprintln!("tunnel: the handshake failed: {error}");
            return;
        }
    }
    let session = Arc::new(Mutex::new(session));
    let [Ok(from), Ok(to)] = [client.try_clone(), socket.try_clone()] else { return };
    let shared = session.clone();
    thread::spawn(move || {
        let _ = outward(from, &to, &shared);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = inward(&socket, &client, &session);
    let _ = client.shutdown(Shutdown::Both);
}

/// From the client into TLS.
fn outward(
    mut from: TcpStream,
    mut to: &TcpStream,
    session: &Mutex<ClientConnection>,
) -> std::io::Result<()> {
    let mut buffer = [0; 16_384];
    let mut waiting = Vec::new();
    loop {
        let read = from.read(&mut buffer)?;
        waiting.extend_from_slice(&buffer[..read]);
        let ready = if read == 0 { waiting.len() } else { rename(&mut waiting) };
        let mut session = session.lock().expect("no holder panics");
        session.writer().write_all(&waiting[..ready])?;
        waiting.drain(..ready);
        if read == 0 {
            session.send_close_notify();
        }
        while session.wants_write() {
            session.write_tls(&mut to)?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// What the client writes into a Via, and what must stand there.
const NAMED: &[u8] = b"SIP/2.0/TCP";
const MEANT: &[u8] = b"SIP/2.0/TLS";

/// Changes each transport in `bytes`. Returns how many of them can go: a name may have been cut in
/// two.
fn rename(bytes: &mut [u8]) -> usize {
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(NAMED) {
            bytes[at..at + MEANT.len()].copy_from_slice(MEANT);
        }
    }
    let longest = bytes.len().min(NAMED.len() - 1);
    let cut = (1..=longest).rev().find(|&len| bytes.ends_with(&NAMED[..len]));
    bytes.len() - cut.unwrap_or(0)
}

/// From TLS to the client.
fn inward(
    mut from: &TcpStream,
    mut to: &TcpStream,
    session: &Mutex<ClientConnection>,
) -> std::io::Result<()> {
    let mut buffer = [0; 16_384];
    let mut plain = Vec::new();
    loop {
        let read = from.read(&mut buffer)?;
        let mut bytes = &buffer[..read];
        let mut session = session.lock().expect("no holder panics");
        loop {
            session.read_tls(&mut bytes)?;
            session.process_new_packets().map_err(std::io::Error::other)?;
            match session.reader().read_to_end(&mut plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            if bytes.is_empty() {
                break;
            }
        }
        while session.wants_write() {
            session.write_tls(&mut from)?;
        }
        drop(session);
        to.write_all(&plain)?;
        plain.clear();
        if read == 0 {
            return Ok(());
        }
    }
}
