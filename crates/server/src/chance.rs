//! The only place that draws random bytes; rules receive them.

/// `N` unpredictable bytes.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that draws chance"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
