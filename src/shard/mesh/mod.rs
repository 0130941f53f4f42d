//! The lock-free mesh: how shards hand datagrams to each other. One bounded ring for each ordered
//! pair of shards; a shard holds one [`Endpoint`], with the writing ends of its outbound rings and
//! the reading ends of its inbound ones.
//!
//! The mesh moves bytes and says who must be woken. Deciding who owns a datagram is
//! [`owner`](super::owner)'s; sleeping, and waking by whatever means, the reactor's; counting what
//! was shed, the caller's.
//!
//! One turn of a reactor's loop: [`push`](Endpoint::push) what others own,
//! [`publish`](Endpoint::publish) once, [`drain`](Endpoint::drain). With nothing left to do:
//! [`prepare_sleep`](Endpoint::prepare_sleep), block if it says so, [`awake`](Endpoint::awake).

mod record;
mod ring;
mod sleep;
mod sync;
mod told;

#[cfg(all(test, aorta_loom))]
mod interleavings;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use arrayvec::ArrayVec;

use self::ring::{Consumer, Producer, Record};
use self::sleep::Sleepers;
use self::sync::Arc;
use super::{Datagram, ShardId};
use crate::flow::ConnectionId;
use crate::guard::Told;
use crate::limits::{MESSAGE_BYTES_MAX, SHARDS_MAX};

/// How many slots (of 256 bytes; a 700-byte datagram takes three) one ring may have. The least
/// still holds the longest datagram, the most is 16 MiB.
pub const SLOTS_PER_RING: RangeInclusive<usize> = 512..=65_536;

const _: () = assert!(ring::slots_of(ring::BODY_BYTES_MAX) <= *SLOTS_PER_RING.start());
const _: () = assert!(SHARDS_MAX <= u128::BITS as usize);

/// Slots that all inbound rings of one shard have together, where that leaves each ring within
/// its own bounds.
const SLOTS_INBOUND: usize = 32_768;
/// Slots of a ring where there are few: enough for a millisecond and more of a whole core's
/// datagrams, small enough to stay in its second-level cache.
const SLOTS_FEW_SHARDS: usize = 4096;
/// Records taken from one ring before the next one's turn.
const TURN: usize = 8;

/// The slots each ring gets in a process of `shards` shards, when nobody says otherwise: 4096
/// (1 MiB) up to nine shards, then fewer, so that the inbound rings of one shard stay within
/// 8 MiB up to 65 shards and 16 MiB beyond. Memory no record has reached is not resident.
#[must_use]
pub fn default_slots(shards: usize) -> usize {
    let share = SLOTS_INBOUND / shards.saturating_sub(1).max(1);
    let power_below = 1 << share.max(1).ilog2();
    usize::clamp(power_below, *SLOTS_PER_RING.start(), SLOTS_FEW_SHARDS)
}

/// A mesh among `shards` shards, as one endpoint for each, in their order. `slots_per_ring` is
/// rounded up to a power of two.
///
/// # Panics
/// If there are no shards or more than [`SHARDS_MAX`], or `slots_per_ring` is not within
/// [`SLOTS_PER_RING`]: the configuration has been checked before.
#[must_use]
pub fn mesh(shards: usize, slots_per_ring: usize) -> Vec<Endpoint> {
    assert!(SLOTS_PER_RING.contains(&slots_per_ring), "rings of {slots_per_ring} slots");
    connect(shards, slots_per_ring.next_power_of_two())
}

fn connect(shards: usize, capacity: usize) -> Vec<Endpoint> {
    assert!((1..=SHARDS_MAX).contains(&shards), "a mesh of {shards} shards");
    let sleepers = Arc::new(Sleepers::new(shards));
    let mut endpoints: Vec<Endpoint> = (0..shards)
        .map(|shard| Endpoint {
            shard,
            outbound: Outbound {
                shard,
                producers: Vec::with_capacity(shards),
                staged: 0,
                joined: Vec::new(),
            },
            inbound: Vec::with_capacity(shards - 1),
            turn: 0,
            turn_left: TURN,
            scratch: vec![0; ring::BODY_BYTES_MAX].into_boxed_slice(),
            sleepers: Arc::clone(&sleepers),
        })
        .collect();
    for from in 0..shards {
        for to in 0..shards {
            if from == to {
                endpoints[from].outbound.producers.push(None);
                continue;
            }
            let (producer, consumer) = ring::ring(capacity);
            endpoints[from].outbound.producers.push(Some(producer));
            endpoints[to].inbound.push(consumer);
        }
    }
    endpoints
}

/// The ring to that shard is full: the datagram was not taken, what is queued stays. The caller
/// counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handoff ring is full")
    }
}

impl std::error::Error for Full {}

/// What shards and the reactors of connections tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// To the reactor of a connection: a request that came by it has passed authentication.
    Authenticated(ConnectionId),
    /// To the reactor of a connection: the shard has bindings on it.
    Hold(ConnectionId),
    /// To the reactor of a connection: the shard has none any more.
    Release {
        /// Which connection.
        id: ConnectionId,
        /// A binding was kicked: it closes if no other shard holds it.
        close_if_unused: bool,
    },
    /// To the reactor of a connection: it closes without a word, unless a shard holds it.
    Shut(ConnectionId),
    /// To a shard that holds a connection: it is gone.
    Closed(ConnectionId),
    /// To the reactor of a connection: send its client a keepalive.
    Ping(ConnectionId),
    /// To the reactor of a connection: its client has agreed to be heard at least every so often.
    Expect {
        /// Which connection.
        id: ConnectionId,
        /// How long it may be silent before it is closed, seconds; 0 ends the agreement.
        silence_max_s: u32,
    },
    /// To every other shard: ICMP has reported that a datagram to this address did not arrive.
    /// Anybody can forge that.
    Unreachable {
        /// Where it was sent.
        to: SocketAddr,
    },
    /// To one shard or to every other: what a guard tells the others.
    Guard(Told),
    /// To every other shard: a keepalive has come as a datagram.
    Heard {
        /// Who sent it.
        source: SocketAddr,
    },
}

/// What came in from another shard: the closed set of what shards send each other.
#[derive(Clone, Copy, Debug)]
pub enum Parcels<'a> {
    /// Messages from the network that this shard owns.
    Messages(&'a [Datagram<'a>]),
    /// A message to be sent over a connection of this reactor.
    Send {
        /// Which connection.
        connection: ConnectionId,
        /// The message.
        bytes: &'a [u8],
    },
    /// A notice.
    Notice {
        /// The shard that sent it.
        from: ShardId,
        /// What it says.
        notice: Notice,
    },
}

/// The writing ends of an [`Endpoint`]. What is pushed is seen after the next
/// [`publish`](Endpoint::publish).
pub struct Outbound {
    shard: usize,
    /// By the number of the shard at the other end; none to itself.
    producers: Vec<Option<Producer>>,
    /// The shards with records pushed and not published, a bit each.
    staged: u128,
    /// Where a body of two parts is put together.
    joined: Vec<u8>,
}

impl Outbound {
    /// Copies `datagram` into the ring to shard `to`.
    ///
    /// # Errors
    /// [`Full`] if there is not enough room for it. A shorter one may still find some.
    ///
    /// # Panics
    /// If `to` is this very shard or none of the mesh, or the datagram is longer than
    /// [`MESSAGE_BYTES_MAX`].
    #[inline]
    pub fn push(&mut self, to: ShardId, datagram: &Datagram<'_>) -> Result<(), Full> {
        let length = datagram.bytes.len();
        assert!(length <= MESSAGE_BYTES_MAX, "a datagram of {length} bytes");
        let tag = record::message_tag(datagram);
        let peer = datagram.link.map_or(&b""[..], |link| link.peer.text());
        if peer.is_empty() {
            return self.put(to, &tag, datagram.bytes);
        }
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend_from_slice(peer);
        joined.extend_from_slice(datagram.bytes);
        let outcome = self.put(to, &tag, &joined);
        self.joined = joined;
        outcome
    }

    /// Copies a message to be sent into the ring to the reactor that has the connection.
    ///
    /// # Errors
    /// [`Full`]
    ///
    /// # Panics
    /// As [`Outbound::push`].
    pub fn push_send(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), Full> {
        self.put(ShardId(connection.reactor), &record::send_tag(connection), bytes)
    }

    /// Copies a notice into the ring to shard `to`.
    ///
    /// # Errors
    /// [`Full`]
    ///
    /// # Panics
    /// If `to` is this very shard or none of the mesh.
    pub fn push_notice(&mut self, to: ShardId, notice: Notice) -> Result<(), Full> {
        let from = ShardId(self.shard as u8);
        self.put(to, &record::notice_tag(from, notice), b"")
    }

    #[inline]
    fn put(&mut self, to: ShardId, tag: &ring::Tag, body: &[u8]) -> Result<(), Full> {
        let to = usize::from(to.0);
        let producer = self.producers[to].as_mut().expect("a shard hands nothing to itself");
        match producer.push(tag, body) {
            Ok(()) => {
                self.staged |= 1 << to;
                Ok(())
            }
            Err(ring::NoRoom) => Err(Full),
        }
    }
}

/// What one shard holds of the mesh. It moves to the shard's thread and stays there.
pub struct Endpoint {
    shard: usize,
    outbound: Outbound,
    inbound: Vec<Consumer>,
    /// The inbound ring whose turn it is, and how many records it may still give.
    turn: usize,
    turn_left: usize,
    /// Where a body is put together that runs over the end of its ring.
    scratch: Box<[u8]>,
    sleepers: Arc<Sleepers>,
}

impl Endpoint {
    /// The shard this endpoint belongs to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        // At most SHARDS_MAX.
        ShardId(self.shard as u8)
    }

    /// [`Outbound::push`]
    ///
    /// # Errors
    /// [`Full`] if there is not enough room for it. A shorter one may still find some.
    #[inline]
    pub fn push(&mut self, to: ShardId, datagram: &Datagram<'_>) -> Result<(), Full> {
        self.outbound.push(to, datagram)
    }

    /// The ends that are written to.
    #[inline]
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Makes everything pushed visible to its shards, and calls `wake` for each of them that
    /// sleeps and that nobody else has set out to wake. Once a batch: it costs a full fence if
    /// anything was pushed, nothing otherwise.
    #[inline]
    pub fn publish(&mut self, mut wake: impl FnMut(ShardId)) {
        let Outbound { producers, staged, .. } = &mut self.outbound;
        if *staged == 0 {
            return;
        }
        for to in bits(*staged) {
            producers[to].as_mut().expect("staged for another shard").publish();
        }
        self.sleepers.published();
        for to in bits(std::mem::take(staged)) {
            if self.sleepers.must_wake(to) {
                wake(ShardId(to as u8));
            }
        }
    }

    /// Takes up to `budget` parcels, in order from each shard, the shards taking turns of eight
    /// (also across calls), and hands those of a turn to `f`, lent for the call, the messages among
    /// them as batches. `f` may push meanwhile. Returns how many it took: fewer than `budget` means
    /// that every inbound ring was found empty.
    ///
    /// If `f` panics, the parcels it was given count as taken.
    pub fn drain_parcels(
        &mut self,
        budget: usize,
        mut f: impl FnMut(&mut Outbound, Parcels<'_>),
    ) -> usize {
        let mut drained = 0;
        let mut empty_in_a_row = 0;
        while drained < budget && empty_in_a_row < self.inbound.len() {
            let ring = &mut self.inbound[self.turn];
            let most = self.turn_left.min(budget - drained);
            let mut records: ArrayVec<Record<'_>, TURN> = ArrayVec::new();
            ring.next(&mut self.scratch, most, &mut records);
            let taken = records.len();
            hand_out(&records, &mut self.outbound, &mut f);
            drop(records);
            ring.release();
            drained += taken;
            self.turn_left -= taken;
            if taken < most {
                // Empty now, and if it was so from the start, one more in a row.
                empty_in_a_row = if taken == 0 { empty_in_a_row + 1 } else { 1 };
                self.next_turn();
            } else {
                empty_in_a_row = 0;
                if self.turn_left == 0 {
                    self.next_turn();
                }
            }
        }
        drained
    }

    /// The same for whoever expects nothing but messages, one at a time.
    pub fn drain(&mut self, budget: usize, mut f: impl FnMut(Datagram<'_>)) -> usize {
        self.drain_parcels(budget, |_, parcels| match parcels {
            Parcels::Messages(batch) => batch.iter().for_each(|datagram| f(*datagram)),
            other => unreachable!("{other:?} where messages alone are sent"),
        })
    }

    /// Whether no published datagram waits for this shard.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbound.iter().all(Consumer::is_empty)
    }

    /// Says that this shard is going to sleep. True: it may block now, and whoever publishes
    /// something for it from now on is told to wake it. False: something has arrived already, stay
    /// awake; a publisher may have set out to wake it all the same, so the reactor's signal can be
    /// found raised later with nothing behind it.
    ///
    /// # Panics
    /// If something pushed was not published: it would wait for the next batch.
    #[must_use]
    pub fn prepare_sleep(&mut self) -> bool {
        assert_eq!(self.outbound.staged, 0, "going to sleep with records not published");
        self.sleepers.announce(self.shard);
        if self.is_empty() {
            return true;
        }
        self.sleepers.rise(self.shard);
        false
    }

    /// Says that this shard is up again, whatever has woken it; nobody wakes it from here on.
    pub fn awake(&mut self) {
        self.sleepers.rise(self.shard);
    }

    fn next_turn(&mut self) {
        self.turn_left = TURN;
        self.turn += 1;
        if self.turn == self.inbound.len() {
            self.turn = 0;
        }
    }
}

/// Hands the parcels of one ring to `f`, neighbouring messages together.
#[inline]
fn hand_out(
    records: &ArrayVec<Record<'_>, TURN>,
    outbound: &mut Outbound,
    f: &mut impl FnMut(&mut Outbound, Parcels<'_>),
) {
    let mut batch: ArrayVec<Datagram<'_>, TURN> = ArrayVec::new();
    for record in records {
        match record::parcel(record) {
            record::Parcel::Message(datagram) => {
                batch.push(datagram);
                continue;
            }
            record::Parcel::Send { connection, bytes } => {
                hand_out_messages(&mut batch, outbound, f);
                f(outbound, Parcels::Send { connection, bytes });
            }
            record::Parcel::Notice { from, notice } => {
                hand_out_messages(&mut batch, outbound, f);
                f(outbound, Parcels::Notice { from, notice });
            }
        }
    }
    hand_out_messages(&mut batch, outbound, f);
}

#[inline]
fn hand_out_messages(
    batch: &mut ArrayVec<Datagram<'_>, TURN>,
    outbound: &mut Outbound,
    f: &mut impl FnMut(&mut Outbound, Parcels<'_>),
) {
    if !batch.is_empty() {
        f(outbound, Parcels::Messages(batch));
        batch.clear();
    }
}

/// The numbers of the bits set in `set`.
fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

#[cfg(all(test, not(aorta_loom)))]
mod tests;
