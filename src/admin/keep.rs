//! What operators did that is to outlive the process. Where that is kept, and how, is decided by
//! whoever starts the interface.

use std::net::IpAddr;

use tokio::sync::oneshot;

/// What became of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockChange {
    /// It is blocked, for so many seconds or until it is lifted.
    Blocked(Option<u32>),
    /// It is blocked no more.
    Lifted,
}

/// Is called once a change is kept, or cannot be: why not, in one line.
pub type Kept = Box<dyn FnOnce(Result<(), String>) + Send>;

/// Keeps what an operator did to a source.
pub type Keep = Box<dyn Fn(IpAddr, BlockChange, Kept) + Send + Sync>;

/// Keeps a change and waits until that is done. `Ok(false)` where nothing is kept at all.
pub(super) async fn keep(
    keep: Option<&Keep>,
    source: IpAddr,
    change: BlockChange,
) -> Result<bool, String> {
    let Some(keep) = keep else { return Ok(false) };
    let (sender, kept) = oneshot::channel();
    // Whoever asked may have given up.
    keep(source, change, Box::new(move |done| drop(sender.send(done))));
    match kept.await {
        Ok(done) => done.map(|()| true),
        Err(_) => Err("the process is stopping".to_owned()),
    }
}
