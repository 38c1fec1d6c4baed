//! The place a scenario plays in: its folder, programs and servers, made afresh for every run.
//!
//! Layout below `$T` (`/srv/aegis-vm/ID`): `prog` holds the programs, `in` is what the agent may
//! read, `work` what it may write, `vault` what it may not touch. The setup script fills them.

use crate::scenario::{Extent, Scenario, User};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder that holds all stages. Not below /tmp: agents get a TMPDIR of their own there.
const ROOT: &str = "/srv/aegis-vm";
/// Manifests as they are installed.
const SHIPPED: &str = "/etc/aegis/policies";
/// What was built once, by the text of its command.
const BUILT: &str = "/var/tmp/aegis-vm-built";

/// What all stages of a run have in common.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Kernel series.
    pub kernel: &'a str,
    /// Folder of all scenarios.
    pub scenarios: &'a Path,
    /// How much of what takes long is done.
    pub extent: Extent,
}

/// One scenario's stage.
pub struct Stage<'a> {
    scenario: &'a Scenario,
    /// Folder with the scenario's file and programs.
    source: PathBuf,
    /// Folder of all scenarios.
    library: PathBuf,
    /// `$T`.
    pub dir: PathBuf,
    python: String,
    user: User,
    extent: Extent,
    /// Name that the agent runs under: no two cases share one.
    pub agent: String,
}

impl<'a> Stage<'a> {
    /// A stage for `scenario`.
    pub fn new(scenario: &'a Scenario, user: User, ground: Ground<'_>) -> Self {
        let scenarios = ground.scenarios;
        let python = fs::canonicalize("/usr/bin/python3").map_or_else(|_| "/usr/bin/python3".into(), |p| p.display().to_string());
        let source = scenarios.join(&scenario.id).parent().map_or_else(|| scenarios.to_owned(), Path::to_owned);
        let agent = format!("{}-{}", scenario.id.replace('/', "-"), user.name());
        Self { agent, scenario, source, library: scenarios.join("lib"), dir: Path::new(ROOT).join(&scenario.id), python, user, extent: ground.extent }
    }

    /// `text` with `$T`, `$PY` (the real path of Python) and `$UID` put in.
    pub fn fill(&self, text: &str) -> String {
        text.replace("$T", &self.dir.display().to_string())
            .replace("$PY", &self.python)
            .replace("$AGENT", &self.agent)
            .replace("$UID", &self.user.uid().to_string())
    }

    /// Clears the stage and sets it up anew.
    ///
    /// # Errors
    /// A program is missing or can't be built, or the setup fails: then nothing was shown.
    pub fn raise(&self) -> Result<()> {
        if self.dir.exists() {
            // Setups may leave mounts, immutable files and sockets; only this folder is cleared.
            let _ = Command::new("sh").arg("-c").arg(self.fill("umount -R -q $T/*/* $T/* 2>/dev/null")).status();
            fs::remove_dir_all(&self.dir).with_context(|| format!("clear {}", self.dir.display()))?;
        }
        for (name, mode) in [("", 0o755), ("prog", 0o755), ("in", 0o755), ("work", 0o1777), ("vault", 0o755)] {
            let path = self.dir.join(name);
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        let manifest = match &self.scenario.manifest {
            Some(text) => match text.strip_prefix('@') {
                Some(name) => {
                    let path = Path::new(SHIPPED).join(name);
                    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?
                }
                None => text.clone(),
            },
            None => fs::read_to_string(self.library.join("standard.yaml")).context("read lib/standard.yaml")?,
        };
        fs::write(self.manifest(), self.fill(&manifest))?;
        for name in std::iter::once("attempt.py").chain(self.scenario.programs.iter().map(String::as_str)) {
            self.copy_program(name)?;
        }
        for (name, command) in &self.scenario.build {
            self.build(name, command)?;
        }
        self.script(&self.scenario.setup).context("setup")?;
        Ok(())
    }

    /// Takes away what the setup left outside the stage.
    pub fn strike(&self) {
        let _ = self.script(&self.scenario.cleanup);
    }

    /// Where the manifest lies.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("agent.yaml")
    }

    fn copy_program(&self, name: &str) -> Result<()> {
        let from = [&self.source, &self.library]
            .into_iter()
            .map(|dir| dir.join(name))
            .find(|p| p.is_file())
            .with_context(|| format!("program {name} lies neither beside the scenario nor in lib/"))?;
        let to = self.dir.join("prog").join(name);
        fs::copy(&from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Builds once for all runs, in a place that depends on the command and its source.
    fn build(&self, name: &str, command: &str) -> Result<()> {
        let built = Path::new(BUILT).join(self.scenario.id.replace('/', "-")).join(name);
        if !built.exists() {
            fs::create_dir_all(built.parent().unwrap_or(Path::new(BUILT)))?;
            let output = Command::new("sh").arg("-ec").arg(command).current_dir(self.dir.join("prog")).env("OUT", &built).output()?;
            if !output.status.success() {
                bail!("build {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
        }
        let to = self.dir.join("prog").join(name);
        fs::copy(&built, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        chown(&to, Some(0), Some(0))?;
        Ok(())
    }

    /// Runs a shell script on the stage, as root and outside; its output.
    ///
    /// # Errors
    /// The script ends with another status than 0.
    pub fn script(&self, text: &str) -> Result<String> {
        let output = Command::new("sh")
            .arg("-ec")
            .arg(self.fill(text))
            .current_dir(&self.dir)
            .envs(self.environment())
            .output()
            .context("start sh")?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Variables for scripts and acts.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("T", self.dir.display().to_string()),
            ("PY", self.python.clone()),
            ("AGENT", self.agent.clone()),
            ("HOME", self.dir.join("work").display().to_string()),
            ("AGENT_UID", self.user.uid().to_string()),
            ("AS", self.user.prefix().join(" ")),
            ("EXTENT", self.extent.word().to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{Ground, Stage};
    use crate::scenario::{Extent, Scenario, User};
    use std::path::Path;

    #[test]
    fn variables_are_put_in_everywhere() {
        let scenario: Scenario = toml::from_str(
            "id='files/x'\ntitle='t'\ndoc='d'\nact='true'\n[[try]]\nname='a'\ninside='ok'\n",
        )
        .unwrap();
        let ground = Ground { kernel: "6.12", scenarios: Path::new("scenarios"), extent: Extent::Sample };
        let stage = Stage::new(&scenario, User::Agent, ground);
        assert_eq!(stage.fill("$T/vault $UID $T"), "/srv/aegis-vm/files/x/vault 1000 /srv/aegis-vm/files/x");
        assert!(stage.fill("$PY").starts_with("/usr/bin/python3"));
    }
}
