//! Random bytes from the cryptographic generator.

/// The operating system gives no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system's random generator does not answer")]
pub struct NoRandomness;

/// `N` random bytes.
pub fn try_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// `N` random bytes, where there is nobody to tell that there are none.
///
/// # Panics
/// When the operating system gives no randomness: nothing safe can be done without it.
pub fn bytes<const N: usize>() -> [u8; N] {
    try_bytes().expect("the system's random generator does not answer")
}
