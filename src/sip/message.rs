//! Start line and header table.
/// placeholder
pub enum Method {}
/// placeholder
pub struct HeaderTable {}
/// placeholder
pub struct Message {}
/// placeholder
pub struct ParseError {}
/// placeholder
pub enum Parsed {}
