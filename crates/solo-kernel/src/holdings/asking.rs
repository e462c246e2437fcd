//! Questions about grants: why somebody may do something, what a grant would open. Changes nothing.

use solo_capability::{GrantError, Object, Principal, Proposal, Reach, Refusal, Request, Token};
use solo_types::{Problem, Right};

use super::{Holdings, now_unix_s, unknown};

impl Holdings {
    /// By which grants a holder may do something, as text.
    ///
    /// # Errors
    /// What stands against it in the nearest one.
    pub(crate) fn explain(
        &self,
        holder: &Principal,
        object: &Object,
        right: Right,
    ) -> Result<String, Refusal> {
        let granted = self.granted.lock();
        let request = Request { object, right };
        let explained = granted.grants.explain(holder, request, &granted.ledger, now_unix_s());
        explained.map(|allowed| allowed.to_string())
    }

    /// What of `objects` the holder of a proposed grant could get at by it and cannot now.
    ///
    /// # Errors
    /// The grant would be refused.
    pub(crate) async fn newly_reachable(
        &self,
        from: &Token,
        proposal: Proposal,
        objects: Vec<Object>,
    ) -> Result<Reach, Problem> {
        let (grants, chain) = {
            let granted = self.granted.lock();
            let chain = granted.grants.present(from).map_err(unknown);
            // Looking at all of it takes longer than decisions may wait; a copy takes milliseconds.
            (granted.grants.clone(), chain.map_err(GrantError::into_problem)?)
        };
        let look = move || grants.newly_reachable(&chain, &proposal, &objects, now_unix_s());
        match tokio::task::spawn_blocking(look).await {
            Ok(reach) => reach.map_err(GrantError::into_problem),
            Err(error) => Err(Problem::internal(error.to_string())),
        }
    }
}
