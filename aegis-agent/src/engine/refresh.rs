//! What a policy's paths stand for changes with the host: a mount, a hard link. The policy is resolved
//! anew then, and swapped in as a new generation.
//!
//! The swap is one store in the kernel's table: no call sees a mixture. Until it is done the earlier image
//! holds, which denies by default what it does not know.

use std::time::Duration;

use aegis_common::policy::{AgentState, agent_flag};
use aegis_policy::check;

use super::{
    Engine, EngineError, create, report,
    session::{Session, State},
};

/// How long calls that began under the earlier image may take to decide.
const GRACE: Duration = Duration::from_millis(50);

impl Engine {
    /// Whether mounts changed that only agents see.
    pub fn views_changed(&self) -> bool {
        // Each is asked: the question is also what begins the next wait.
        self.sessions().iter().filter(|session| session.host.view().mounts_changed()).count() > 0
    }

    /// Resolves the policies of all agents anew.
    pub fn refresh(&self) {
        for session in self.sessions() {
            if session.state == State::Ending || !session.saved.enforced {
                continue;
            }
            if let Err(error) = self.refresh_one(&session) {
                let session = &session.saved.session;
                tracing::error!(session, %error, "the policy could not be resolved anew: the earlier image stays in force");
            }
        }
    }

    fn refresh_one(&self, before: &Session) -> Result<(), EngineError> {
        let full = || EngineError::Full(aegis_common::limits::MAX_AGENTS - 1);
        let index = self.registry().images.take().ok_or_else(full)?;
        let swapped = self.swap_in(before, index);
        match swapped {
            Ok(true) => {}
            Ok(false) | Err(_) => self.registry().images.free(index),
        }
        swapped.map(|_| ())
    }

    /// Answers whether the image was swapped: one that says the same is not.
    fn swap_in(&self, before: &Session, index: u32) -> Result<bool, EngineError> {
        let saved = &before.saved;
        before.host.show_mounts(&before.view);
        let policy = check(&saved.manifest.0, &saved.manifest_path).map_err(EngineError::Manifest)?;
        let generation = saved.generation + 1;
        let (compiled, _) = self.compile(policy, &saved.added, index, generation, &before.host)?;
        let image = crate::words::hex(&compiled.hash);
        if image == saved.image {
            return Ok(false);
        }
        before.view.add_image(index, create::image_view(&compiled));
        let mut after = before.clone();
        (after.saved.image_index, after.saved.generation, after.saved.image) = (index, generation, image);
        let loaded = self.kernel_step("loading the policy", |k| {
            if k.adopted() {
                k.remove_image(index)?;
            }
            k.install(&compiled)
        });
        let pointed = loaded.and_then(|()| self.point(saved.slot, index));
        // An agent that is being ended keeps the image it is known by: that one will be removed with it.
        let known = pointed.is_ok()
            && self.update(&saved.session, |s| {
                let running = s.state != State::Ending;
                if running {
                    (s.saved.image_index, s.saved.generation) = (index, generation);
                    s.saved.image.clone_from(&after.saved.image);
                }
                running
            }) == Some(true);
        if !known {
            report("keeping the earlier image", self.point(saved.slot, saved.image_index));
            report("removing the image", self.kernel_step("removing the image", |k| k.remove_image(index)));
            return pointed.map(|()| false);
        }
        // Where this fails a later engine finds another image than it knows, and brings its own into force.
        report("saving the agent's file", after.saved.write(&self.parts.layout.agents()));
        let recorded = self.record_policy(&after, &compiled);
        std::thread::sleep(GRACE);
        report("removing the image", self.kernel_step("removing the image", |k| k.remove_image(saved.image_index)));
        self.registry().images.free(saved.image_index);
        recorded.map(|()| true)
    }

    /// Lets an image decide for an agent, where the agent is still there.
    fn point(&self, slot: u32, image: u32) -> Result<(), EngineError> {
        self.kernel_step("swapping the policy", |k| {
            let state = k.agent(slot)?;
            if state.flags & agent_flag::ACTIVE == 0 {
                return Ok(());
            }
            k.set_agent(slot, AgentState { image, ..state })
        })
    }
}
