//! The connections that something of this shard lives on, and what the shard asks of the reactors
//! that have them. A reactor keeps a connection for the shards that hold it, and tells them when
//! it closes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::flow::{ConnectionId, Flow};
use crate::guard::{To, Told};
use crate::reg_event::SubscriptionTable;
use crate::registrar::Registrar;

/// Something for a reactor to do that is not the reply to the message at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send the first `len` bytes of the buffer. A request goes by the flow its target registered
    /// over: by a connection whatever its size; by UDP also where it is longer than 1300 bytes,
    /// since there is no other way to that target (RFC 3261 18.1.1), in fragments.
    Send {
        /// Where to, for a datagram.
        to: SocketAddr,
        /// The way there.
        flow: Flow,
        /// How many bytes.
        len: usize,
    },
    /// Something of this shard lives on the connection now. If it is closed already, its reactor
    /// says so.
    Hold(ConnectionId),
    /// Nothing does any more.
    Release {
        /// Which connection.
        id: ConnectionId,
        /// A binding was kicked: the connection closes if no other shard holds it.
        close_if_unused: bool,
    },
    /// A request that came by the connection has passed authentication.
    Authenticated(ConnectionId),
    /// Whoever is at the other end is to hear nothing: the connection closes without a word, unless
    /// a shard holds it.
    Shut(ConnectionId),
    /// Tell the guards of other shards.
    Tell(To, Told),
    /// Send the client of the connection a keepalive: the ping of RFC 5626 4.4.1 on a stream, a
    /// ping frame on a WebSocket (RFC 6455 5.5.2). It is skipped where older output still waits.
    Ping(ConnectionId),
    /// The client of the connection has agreed to be heard at least every so often (RFC 5626
    /// Flow-Timer, RFC 6223): the connection closes when it is silent for longer.
    Expect {
        /// Which connection.
        id: ConnectionId,
        /// How long it may be silent, grace included, seconds; 0 ends the agreement.
        silence_max_s: u32,
    },
}

/// What is held, and the orders that wait.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// Each with how long its client may be silent by its word, seconds; 0 without one.
    held: BTreeMap<ConnectionId, u32>,
    /// Connections whose bindings may have changed, and whether one of them was kicked.
    touched: Vec<(ConnectionId, bool)>,
    /// What clients have agreed to in the call at hand.
    agreed: Vec<(ConnectionId, u32)>,
    orders: VecDeque<Order>,
}

impl Flows {
    /// Bindings on the connection may have come or gone; one was `kicked`.
    pub fn touch(&mut self, id: ConnectionId, kicked: bool) {
        self.touched.push((id, kicked));
    }

    /// The same for whatever flow a binding had.
    pub fn touch_flow(&mut self, flow: &Flow, kicked: bool) {
        self.touched.extend(flow.connection().map(|id| (id, kicked)));
    }

    /// The client of the connection has registered and agreed to be heard at least every so many
    /// seconds; with 0, it has agreed to nothing. It counts if a binding lives there afterwards.
    pub fn agree(&mut self, id: ConnectionId, silence_max_s: u32) {
        self.agreed.push((id, silence_max_s));
    }

    /// Holds what has come into use since the last call, and releases what is in use no more.
    ///
    /// A subscription holds its connection too, but not against a kick: a device that was kicked
    /// hears of it, and then loses the connection that only its own subscription is left on.
    #[inline]
    pub fn settle(&mut self, registrar: &Registrar, subscriptions: &SubscriptionTable) {
        if !self.touched.is_empty() {
            self.settle_touched(|id, kicked| {
                registrar.has_bindings_on(id) || (!kicked && subscriptions.uses(id))
            });
        }
    }

    fn settle_touched(&mut self, is_in_use: impl Fn(ConnectionId, bool) -> bool) {
        let Flows { held, touched, agreed, orders } = self;
        // Those with a kick first: it is the last look that counts, and the first that tells.
        touched.sort_by_key(|&(id, kicked)| (id, !kicked));
        touched.dedup_by_key(|&mut (id, _)| id);
        for (id, kicked) in touched.drain(..) {
            let in_use = is_in_use(id, kicked);
            if !in_use {
                if held.remove(&id).is_some() {
                    orders.push_back(Order::Release { id, close_if_unused: kicked });
                }
            } else if let Entry::Vacant(entry) = held.entry(id) {
                entry.insert(0);
                orders.push_back(Order::Hold(id));
            }
        }
        for (id, silence_max_s) in agreed.drain(..) {
            if let Some(known) = held.get_mut(&id)
                && *known != silence_max_s
            {
                *known = silence_max_s;
                orders.push_back(Order::Expect { id, silence_max_s });
            }
        }
    }

    /// The connection is gone.
    pub fn closed(&mut self, id: ConnectionId) {
        self.held.remove(&id);
    }

    /// A request that came by the connection has passed authentication.
    pub fn authenticated(&mut self, id: ConnectionId) {
        self.orders.push_back(Order::Authenticated(id));
    }

    /// Nobody who is known has spoken over the connection.
    pub fn shut(&mut self, id: ConnectionId) {
        self.orders.push_back(Order::Shut(id));
    }

    /// The next order.
    pub fn pop(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The next order, unless it closes a connection that something is still to be sent over.
    pub fn pop_before_close(&mut self) -> Option<Order> {
        let closes = |order: &Order| matches!(order, Order::Release { close_if_unused: true, .. });
        self.orders.front().is_some_and(|order| !closes(order)).then(|| self.pop()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { reactor: 0, slot, generation: 1 }
    }

    fn orders(flows: &mut Flows, bound: &[ConnectionId]) -> Vec<Order> {
        flows.settle_touched(|id, _| bound.contains(&id));
        std::iter::from_fn(|| flows.pop()).collect()
    }

    #[test]
    fn what_comes_into_use_is_held_once_and_released_once() {
        let mut flows = Flows::default();
        flows.touch(id(1), false);
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[id(1)]), [Order::Hold(id(1))]);
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[id(1)]), []);
        flows.touch(id(1), false);
        let release = Order::Release { id: id(1), close_if_unused: false };
        assert_eq!(orders(&mut flows, &[]), [release]);
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[]), []);
    }

    #[test]
    fn a_kick_closes_what_nothing_else_uses() {
        let mut flows = Flows::default();
        flows.touch(id(1), false);
        flows.touch(id(2), false);
        assert_eq!(orders(&mut flows, &[id(1), id(2)]).len(), 2);
        // On 1 the newcomer sits on the same connection; 2 is left empty.
        for slot in [1, 2] {
            flows.touch(id(slot), false);
            flows.touch(id(slot), true);
        }
        let release = Order::Release { id: id(2), close_if_unused: true };
        assert_eq!(orders(&mut flows, &[id(1)]), [release]);
    }

    #[test]
    fn a_subscription_keeps_a_connection_but_not_against_a_kick() {
        let mut flows = Flows::default();
        let mut orders_with_subscription = |kicked| {
            flows.touch(id(1), kicked);
            flows.settle_touched(|_, kicked| !kicked);
            std::iter::from_fn(|| flows.pop()).collect::<Vec<_>>()
        };
        assert_eq!(orders_with_subscription(false), [Order::Hold(id(1))]);
        assert_eq!(orders_with_subscription(false), []);
        let release = Order::Release { id: id(1), close_if_unused: true };
        assert_eq!(orders_with_subscription(true), [release]);
    }

    #[test]
    fn a_connection_that_closed_is_not_released() {
        let mut flows = Flows::default();
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[id(1)]).len(), 1);
        flows.closed(id(1));
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[]), []);
    }

    #[test]
    fn what_a_client_agrees_to_is_said_once_and_when_it_changes() {
        let mut flows = Flows::default();
        let mut register = |silence_max_s, bound: &[ConnectionId]| {
            flows.touch(id(1), false);
            flows.agree(id(1), silence_max_s);
            orders(&mut flows, bound)
        };
        let expect = |silence_max_s| Order::Expect { id: id(1), silence_max_s };
        // Whoever leaves with it, or was never there, agrees to nothing.
        assert_eq!(register(132, &[]), []);
        assert_eq!(register(132, &[id(1)]), [Order::Hold(id(1)), expect(132)]);
        assert_eq!(register(132, &[id(1)]), []);
        assert_eq!(register(60, &[id(1)]), [expect(60)]);
        assert_eq!(register(0, &[id(1)]), [expect(0)]);
        assert_eq!(register(0, &[id(1)]), []);
        assert_eq!(register(60, &[id(1)]), [expect(60)]);
        let release = Order::Release { id: id(1), close_if_unused: false };
        assert_eq!(register(60, &[]), [release]);
        assert_eq!(register(60, &[id(1)]), [Order::Hold(id(1)), expect(60)]);
    }

    #[test]
    fn an_order_that_closes_waits_for_what_is_still_to_be_sent_and_keeps_its_place() {
        let mut flows = Flows::default();
        flows.touch(id(1), false);
        assert_eq!(orders(&mut flows, &[id(1)]), [Order::Hold(id(1))]);
        flows.authenticated(id(2));
        flows.touch(id(1), true);
        flows.settle_touched(|_, _| false);
        flows.authenticated(id(3));
        assert_eq!(flows.pop_before_close(), Some(Order::Authenticated(id(2))));
        assert_eq!(flows.pop_before_close(), None);
        let release = Order::Release { id: id(1), close_if_unused: true };
        assert_eq!(flows.pop(), Some(release));
        assert_eq!(flows.pop_before_close(), Some(Order::Authenticated(id(3))));
        assert_eq!(flows.pop_before_close(), None);
    }

    #[test]
    fn datagrams_hold_nothing() {
        let mut flows = Flows::default();
        flows.touch_flow(&Flow::Datagram { listener: 0, local_ip: None }, true);
        let connection = Flow::Connection { id: id(1), transport: Transport::Tcp };
        flows.touch_flow(&connection, false);
        assert_eq!(orders(&mut flows, &[id(1)]), [Order::Hold(id(1))]);
    }
}
