//! The same by UDP: each datagram comes back to whoever sent it.

use std::{io, net::UdpSocket, thread, time::Duration};

/// Longest datagram there can be.
const BYTES_MAX: usize = 64 << 10;
/// Between two tries to be heard.
const PAUSE: Duration = Duration::from_millis(100);
/// How often somebody is asked who does not answer.
const TRIES_MAX: u32 = 300;

/// Echoes datagrams for ever.
pub(crate) fn serve(port: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(format!("0.0.0.0:{port}"))?;
    println!("listening on {} for datagrams", socket.local_addr()?);
    let mut datagram = vec![0; BYTES_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
    }
}

/// Sends `word` to `place` until something comes back, and prints that. Datagrams may be lost, so it tries again.
pub(crate) fn ask(place: &str, word: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_nonblocking(true)?;
    let mut datagram = vec![0; BYTES_MAX];
    for _ in 0..TRIES_MAX {
        socket.send_to(word.as_bytes(), place)?;
        thread::sleep(PAUSE);
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                println!("{from} says {}", String::from_utf8_lossy(&datagram[..length]));
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{place} does not answer")))
}
