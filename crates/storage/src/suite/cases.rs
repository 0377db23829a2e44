//! Cases.
use super::EngineFactory;
pub(super) async fn run(_factory: &dyn EngineFactory) {}
