//! The writes that are being served, so that a stop can wait for them: they outlive clients that went away.

use tokio::sync::watch;

/// Counts writes under way.
pub struct Writes(watch::Sender<usize>);

/// One write under way, until dropped.
pub struct Write<'a>(&'a Writes);

impl Writes {
    pub fn begin(&self) -> Write<'_> {
        self.0.send_modify(|count| *count += 1);
        Write(self)
    }

    /// Waits until none is under way.
    pub async fn finished(&self) {
        // An error means that nobody counts any more.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Default for Writes {
    fn default() -> Self {
        Writes(watch::Sender::new(0))
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
