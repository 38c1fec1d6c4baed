//! Secrets that are known by how they begin.
//!
//! Knows the prefixes that issuers give their tokens so that they can be found. A secret without one is
//! found by what stands before it ([`super::name`], [`super::word`]), or by a rule of the operator.

use super::{
    Place,
    scan::{Run, rank},
};

/// A family of tokens.
#[derive(Debug)]
pub(super) struct Token {
    /// Name of the rule.
    pub rule: &'static str,
    /// How they begin. Case counts, except in host names.
    pub prefix: &'static str,
    /// Fewest characters behind the prefix; where the text was cut off, one is enough.
    least: usize,
    /// What else must hold.
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing: no word begins like this by chance.
    Plain,
    /// No letter or digit before it.
    Apart,
    /// As [`Shape::Apart`], and at random: a digit and a capital letter behind the prefix.
    Random,
    /// Letters and digits only.
    Letters,
    /// Header and payload, both JSON in base64: `eyJ….eyJ…`.
    Jwt,
}

const fn token(rule: &'static str, prefix: &'static str, least: usize, shape: Shape) -> Token {
    Token { rule, prefix, least, shape }
}

use Shape::{Apart, Jwt, Letters, Plain, Random};

/// All of them.
pub(super) const TOKENS: &[Token] = &[
    token("github-token", "ghp_", 16, Plain),
    token("github-token", "gho_", 16, Plain),
    token("github-token", "ghu_", 16, Plain),
    token("github-token", "ghs_", 16, Plain),
    token("github-token", "ghr_", 16, Plain),
    token("github-token", "github_pat_", 16, Plain),
    token("gitlab-token", "glpat-", 12, Plain),
    token("gitlab-token", "gldt-", 12, Plain),
    token("gitlab-token", "glrt-", 12, Plain),
    token("gitlab-token", "glcbt-", 12, Plain),
    token("gitlab-token", "glptt-", 12, Plain),
    token("gitlab-token", "glsoat-", 12, Plain),
    token("gitlab-token", "glft-", 12, Apart),
    token("slack-token", "xoxb-", 8, Plain),
    token("slack-token", "xoxp-", 8, Plain),
    token("slack-token", "xoxa-", 8, Plain),
    token("slack-token", "xoxr-", 8, Plain),
    token("slack-token", "xoxs-", 8, Plain),
    token("slack-token", "xoxe-", 8, Plain),
    token("slack-token", "xoxe.xox", 8, Plain),
    token("slack-token", "xoxc-", 8, Plain),
    token("slack-token", "xoxd-", 8, Plain),
    token("slack-token", "xapp-", 8, Plain),
    token("slack-webhook", "hooks.slack.com/services/", 1, Plain),
    token("discord-webhook", "discord.com/api/webhooks/", 1, Plain),
    token("discord-webhook", "discordapp.com/api/webhooks/", 1, Plain),
    token("anthropic-key", "sk-ant-", 8, Plain),
    token("openai-key", "sk-proj-", 8, Plain),
    token("openai-key", "sk-svcacct-", 8, Plain),
    token("openai-key", "sk-admin-", 16, Apart),
    token("openrouter-key", "sk-or-v1-", 16, Plain),
    token("openai-key", "sk-", 20, Random),
    token("groq-key", "gsk_", 20, Random),
    token("xai-key", "xai-", 20, Random),
    token("perplexity-key", "pplx-", 20, Apart),
    token("replicate-token", "r8_", 20, Random),
    token("huggingface-token", "hf_", 20, Random),
    token("aws-key-id", "AKIA", 16, Letters),
    token("aws-key-id", "ASIA", 16, Letters),
    token("aws-key-id", "ABIA", 16, Letters),
    token("aws-key-id", "ACCA", 16, Letters),
    token("google-key", "AIza", 24, Plain),
    token("google-token", "ya29.", 16, Plain),
    token("google-secret", "GOCSPX-", 12, Plain),
    token("stripe-key", "sk_live_", 8, Plain),
    token("stripe-key", "sk_test_", 8, Plain),
    token("stripe-key", "rk_live_", 8, Plain),
    token("stripe-key", "rk_test_", 8, Plain),
    token("stripe-key", "whsec_", 16, Plain),
    token("npm-token", "npm_", 30, Random),
    token("pypi-token", "pypi-AgE", 16, Plain),
    token("pypi-token", "pypi-", 40, Random),
    token("rubygems-key", "rubygems_", 24, Plain),
    token("docker-token", "dckr_pat_", 12, Plain),
    token("digitalocean-token", "dop_v1_", 16, Plain),
    token("digitalocean-token", "doo_v1_", 16, Plain),
    token("digitalocean-token", "dor_v1_", 16, Plain),
    token("vault-token", "hvs.", 16, Apart),
    token("vault-token", "hvb.", 16, Apart),
    token("shopify-token", "shpat_", 16, Plain),
    token("shopify-token", "shpss_", 16, Plain),
    token("shopify-token", "shpca_", 16, Plain),
    token("sendgrid-key", "SG.", 20, Random),
    token("square-token", "sq0atp-", 12, Plain),
    token("square-token", "sq0csp-", 12, Plain),
    token("linear-key", "lin_api_", 16, Plain),
    token("notion-token", "ntn_", 30, Random),
    token("figma-token", "figd_", 16, Plain),
    token("postman-key", "PMAK-", 16, Plain),
    token("newrelic-key", "NRAK-", 16, Plain),
    token("grafana-token", "glsa_", 16, Plain),
    token("grafana-token", "glc_eyJ", 16, Plain),
    token("databricks-token", "dapi", 32, Apart),
    token("terraform-token", ".atlasv1.", 16, Plain),
    token("atlassian-token", "ATATT3", 16, Plain),
    token("atlassian-token", "ATCTT3", 16, Plain),
    token("tailscale-key", "tskey-", 12, Plain),
    token("1password-token", "ops_eyJ", 16, Plain),
    token("age-key", "AGE-SECRET-KEY-1", 8, Plain),
    token("jwt", "eyJ", 8, Jwt),
];

impl Token {
    /// A longer prefix of somebody else's may begin like this one.
    pub(super) const fn rank(&self) -> u8 {
        if matches!(self.shape, Random) { rank::LIKELY } else { rank::TOKEN }
    }

    /// The end of the token that begins at `start`, where one does.
    pub(super) fn end(&self, text: &[u8], start: usize, place: Place, run: &mut Run) -> Option<usize> {
        let body = start + self.prefix.len();
        if !place.fold && text.get(start..body)? != self.prefix.as_bytes() {
            return None;
        }
        let apart = start == 0 || !text[start - 1].is_ascii_alphanumeric();
        let end = match self.shape {
            Jwt => return jwt(text, start, place, run),
            Letters => body + text[body..].iter().take_while(|b| letter(**b, place)).count(),
            _ => run.end(text, body),
        };
        let secret = &text[body..end];
        // What was cut off may have lacked what makes it look random.
        let open = place.cut && end == text.len() && !secret.is_empty();
        let good = match self.shape {
            Apart => apart,
            Random => apart && (open || (secret.iter().any(u8::is_ascii_digit) && (place.fold || secret.iter().any(u8::is_ascii_uppercase)))),
            _ => true,
        };
        (good && (open || secret.len() >= self.least)).then(|| self.whole(text, end))
    }

    /// A slash goes on in what is a URL, a dot in tokens of several parts.
    fn whole(&self, text: &[u8], end: usize) -> usize {
        let more: &[u8] = match self.prefix.as_bytes() {
            [.., b'/'] => b"/",
            b"SG." | b"hvs." | b"hvb." => b".",
            _ => return end,
        };
        let goes_on = |b: &u8| Run::holds(*b) || more.contains(b);
        end + text[end..].iter().take_while(|b| goes_on(b)).count()
    }
}

fn letter(byte: u8, place: Place) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase() || (place.fold && byte.is_ascii_lowercase())
}

/// Three parts, the first two JSON objects; or five, of one that is encrypted.
fn jwt(text: &[u8], start: usize, place: Place, run: &mut Run) -> Option<usize> {
    let header = run.end(text, start);
    if header - start < 10 || text.get(header) != Some(&b'.') {
        return None;
    }
    let part = |from: usize| from + text[from..].iter().take_while(|b| Run::holds(**b)).count();
    let mut end = part(header + 1);
    let payload = &text[header + 1..end];
    let folded: &[u8] = if place.fold { b"eyj" } else { b"eyJ" };
    let object = payload.len() >= 3 && payload[..3].eq_ignore_ascii_case(folded) && (place.fold || payload.starts_with(b"eyJ"));
    let mut parts = 2;
    while text.get(end) == Some(&b'.') && parts < 5 {
        end = part(end + 1);
        parts += 1;
    }
    let open = place.cut && end == text.len() && parts == 2;
    (object || open || (parts == 5 && end - header > 32)).then_some(end)
}
