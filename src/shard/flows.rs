//! The connections that this shard's bindings live on, and what the shard asks of the reactors
//! that have them. A reactor keeps a connection for the shards that hold it, and tells them when
//! it closes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::flow::{ConnectionId, Flow};

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
    /// This shard has bindings on the connection now. If it is closed already, its reactor says so.
    Hold(ConnectionId),
    /// It has none any more.
    Release {
        /// Which connection.
        id: ConnectionId,
        /// A binding was kicked: the connection closes if no other shard holds it.
        close_if_unused: bool,
    },
    /// A request that came by the connection has passed authentication.
    Authenticated(ConnectionId),
}

/// How many holds there are on each connection, and the orders that wait.
#[derive(Debug, Default)]
pub(super) struct Flows {
    held: BTreeMap<ConnectionId, u32>,
    orders: VecDeque<Order>,
}

impl Flows {
    /// Something of this shard lives on `flow` from now on.
    ///
    /// Where bindings move or replace each other, hold the new ones first: a connection that is let
    /// go in between may be closed.
    pub fn hold(&mut self, flow: &Flow) {
        let Some(id) = flow.connection() else { return };
        let count = self.held.entry(id).or_default();
        *count += 1;
        if *count == 1 {
            self.orders.push_back(Order::Hold(id));
        }
    }

    /// It lives there no more. A kicked binding closes a connection nobody else uses.
    pub fn release(&mut self, flow: &Flow, close_if_unused: bool) {
        let Some(id) = flow.connection() else { return };
        // One that has closed is forgotten already.
        let Some(count) = self.held.get_mut(&id) else { return };
        *count -= 1;
        if *count == 0 {
            self.held.remove(&id);
            self.orders.push_back(Order::Release { id, close_if_unused });
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

    /// The next order.
    pub fn pop(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;

    fn flow(slot: u32) -> Flow {
        let id = ConnectionId { reactor: 0, slot, generation: 1 };
        Flow::Connection { id, transport: Transport::Tcp }
    }

    fn orders(flows: &mut Flows) -> Vec<Order> {
        std::iter::from_fn(|| flows.pop()).collect()
    }

    #[test]
    fn the_first_hold_and_the_last_release_are_told() {
        let mut flows = Flows::default();
        let id = flow(1).connection().unwrap();
        flows.hold(&flow(1));
        flows.hold(&flow(1));
        assert_eq!(orders(&mut flows), [Order::Hold(id)]);
        flows.release(&flow(1), true);
        assert_eq!(orders(&mut flows), []);
        flows.release(&flow(1), true);
        assert_eq!(orders(&mut flows), [Order::Release { id, close_if_unused: true }]);
    }

    #[test]
    fn a_connection_that_closed_is_not_released() {
        let mut flows = Flows::default();
        flows.hold(&flow(1));
        flows.closed(flow(1).connection().unwrap());
        flows.release(&flow(1), true);
        assert_eq!(orders(&mut flows).len(), 1);
    }

    #[test]
    fn datagrams_hold_nothing() {
        let mut flows = Flows::default();
        let datagram = Flow::Datagram { listener: 0, local_ip: None };
        flows.hold(&datagram);
        flows.release(&datagram, true);
        assert_eq!(orders(&mut flows), []);
    }
}
