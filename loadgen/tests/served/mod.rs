//! The test registrar behind a UDP socket on a port of the kernel's choice.
#![allow(dead_code)] // Each test program uses its part.

use crate::stub::Registrar;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub struct Served {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    thread: Option<JoinHandle<Registrar>>,
}

impl Served {
    /// Serves until dropped; every answer leaves `delay` after its request came.
    pub fn start(host: &str, mut registrar: Registrar, delay: Duration) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((host, 0))?;
        let address = socket.local_addr()?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = requests.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            let mut queue = std::collections::VecDeque::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    counted.fetch_add(1, Ordering::Relaxed);
                    for answer in registrar.answer(&buffer[..length]) {
                        queue.push_back((Instant::now() + delay, from, answer));
                    }
                }
                while let Some((_, to, answer)) =
                    queue.pop_front_if(|(at, ..)| *at <= Instant::now())
                {
                    // The generator may have ended meanwhile.
                    let _ = socket.send_to(&answer, to);
                }
            }
            registrar
        });
        Ok(Served { address, stop, requests, thread: Some(thread) })
    }

    /// Returns once this many requests have come.
    pub fn wait_for_requests(&self, count: u64) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while self.requests.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < give_up, "{count} requests have not come");
            std::thread::yield_now();
        }
    }

    /// Ends it and gives the registrar back.
    pub fn stop(mut self) -> Registrar {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
