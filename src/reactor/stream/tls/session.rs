//! The TLS session of one connection: records in, text out, and the other way round. It keeps no
//! buffer of its own, so an idle session costs its keys and little more.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::identity::identities;

/// Room that a record needs beyond its text: head, nonce, tag and padding, rounded up.
const RECORD_OVERHEAD_BYTES: usize = 64;
const RECORD_TEXT_BYTES_MAX: usize = 16_384;

/// The session failed: what is in the output (an alert) is the last there is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Failed;

/// What came in beside the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Progress {
    /// The handshake has just been completed.
    pub(in super::super) established: bool,
    /// The client will send nothing more.
    pub(in super::super) ended: bool,
}

/// The server's side of a session.
pub(in super::super) struct Session {
    connection: Box<UnbufferedServerConnection>,
    established: bool,
    /// It must not be asked again: the library takes a second fault for its own.
    failed: bool,
}

impl Session {
    /// A session before its first byte.
    ///
    /// # Errors
    /// If the configuration does not allow any, which loading it has ruled out.
    pub(in super::super) fn new(config: &Arc<ServerConfig>) -> Result<Session, Failed> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config)).map_err(|_| Failed)?;
        Ok(Session { connection: Box::new(connection), established: false, failed: false })
    }

    /// Whether the handshake is complete.
    pub(in super::super) fn is_established(&self) -> bool {
        self.established
    }

    /// Takes what it can from the front of `input`, appends the text to `text` and what the client
    /// has to be sent to `output`.
    ///
    /// # Errors
    /// [`Failed`]
    pub(in super::super) fn receive(
        &mut self,
        input: &mut Vec<u8>,
        text: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, Failed> {
        if self.failed {
            return Err(Failed);
        }
        let outcome = self.take(input, text, output);
        self.failed = outcome.is_err();
        outcome
    }

    fn take(
        &mut self,
        input: &mut Vec<u8>,
        text: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, Failed> {
        let mut progress = Progress::default();
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut input[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|_| Failed)?;
                        discard += record.discard;
                        text.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(output, 0, |room| data.encode(room).map_err(more_room_to_encode))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(_)) => {
                    progress.established |= !self.established;
                    self.established = true;
                    at += discard;
                    break;
                }
                Ok(ConnectionState::BlockedHandshake) => {
                    at += discard;
                    break;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    progress.ended = true;
                    at += discard;
                    break;
                }
                Ok(_) => return Err(Failed),
                Err(_) => {
                    self.alert(&mut input[at + discard..], output);
                    return Err(Failed);
                }
            }
            at += discard;
        }
        input.drain(..at);
        Ok(progress)
    }

    /// What the session has to say about its failure, which waits to be sent if there is anything.
    /// `input` is what it has not taken: it knows of messages in there, and may look for them.
    fn alert(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(input).state
        {
            // It ends all the same.
            let _ = append(output, 0, |room| data.encode(room).map_err(more_room_to_encode));
        }
    }

    /// Appends `text` to `output` as records. `input` is what [`Session::receive`] left.
    ///
    /// # Errors
    /// [`Failed`], also before the handshake is complete.
    pub(in super::super) fn send(
        &mut self,
        text: &[u8],
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        let records = text.len() / RECORD_TEXT_BYTES_MAX + 1;
        let room = text.len() + records * RECORD_OVERHEAD_BYTES;
        self.write(input, output, |traffic, output| {
            append(output, room, |out| traffic.encrypt(text, out).map_err(more_room))
        })
    }

    /// Appends the notice that nothing more will be sent; nothing where the handshake is not
    /// complete or the session has failed.
    pub(in super::super) fn close(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        // The connection closes whether the client can be told or not.
        let _ = self.write(input, output, |traffic, output| {
            append(output, RECORD_OVERHEAD_BYTES, |out| {
                traffic.queue_close_notify(out).map_err(more_room)
            })
        });
    }

    fn write(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        mut write: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut Vec<u8>,
        ) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        if self.failed {
            return Err(Failed);
        }
        loop {
            // All whole records were taken before, so nothing is read here.
            match self.connection.process_tls_records(input).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return write(&mut traffic, output);
                }
                Ok(ConnectionState::TransmitTlsData(mut data)) => {
                    if let Some(mut traffic) = data.may_encrypt_app_data() {
                        write(&mut traffic, output)?;
                        data.done();
                        return Ok(());
                    }
                    data.done();
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(output, 0, |room| data.encode(room).map_err(more_room_to_encode))?;
                }
                // Told once; writing goes on (RFC 8446 6.1 closes one direction).
                Ok(ConnectionState::PeerClosed) => {}
                _ => return Err(Failed),
            }
        }
    }

    /// Who the client is by its certificate; empty without one.
    pub(in super::super) fn peer(&self) -> Box<[u8]> {
        let certificates = self.connection.peer_certificates();
        certificates.and_then(<[_]>::first).map_or_else(Box::default, |own| identities(own))
    }
}

fn more_room_to_encode(error: EncodeError) -> Option<InsufficientSizeError> {
    match error {
        EncodeError::InsufficientSize(more) => Some(more),
        EncodeError::AlreadyEncoded => None,
    }
}

fn more_room(error: EncryptError) -> Option<InsufficientSizeError> {
    match error {
        EncryptError::InsufficientSize(more) => Some(more),
        EncryptError::EncryptExhausted => None,
    }
}

/// Lets `write` write behind the end of `output`, with more room where it asks for that.
fn append(
    output: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), Failed> {
    let end = output.len();
    loop {
        output.resize(end + room, 0);
        match write(&mut output[end..]) {
            Ok(written) => {
                output.truncate(end + written);
                return Ok(());
            }
            Err(Some(more)) if more.required_size > room => room = more.required_size,
            Err(_) => {
                output.truncate(end);
                return Err(Failed);
            }
        }
    }
}
