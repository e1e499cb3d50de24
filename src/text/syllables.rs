//! Korean words without the particle that is written against them: 오렐입니다 and 오렐은 are 오렐.

/// Particles and forms of the copula, longest first within a length class; a word keeps at least two syllables.
const PARTICLES: [&str; 52] = [
    "이었습니다",
    "였습니다",
    "이라고",
    "입니다",
    "이에요",
    "이었다",
    "에서는",
    "에게서",
    "으로서",
    "으로써",
    "으로는",
    "부터",
    "까지",
    "에서",
    "에게",
    "한테",
    "으로",
    "라고",
    "이다",
    "였다",
    "예요",
    "이고",
    "이며",
    "이나",
    "이란",
    "처럼",
    "보다",
    "마다",
    "조차",
    "밖에",
    "하고",
    "에는",
    "에도",
    "과의",
    "와의",
    "들은",
    "들이",
    "들을",
    "은",
    "는",
    "이",
    "가",
    "을",
    "를",
    "의",
    "에",
    "와",
    "과",
    "도",
    "로",
    "만",
    "들",
];

fn is_syllable(c: char) -> bool {
    ('가'..='힣').contains(&c)
}

/// `word` without one particle; other scripts stay as they are.
pub fn without_particle(word: &str) -> &str {
    if !word.chars().next_back().is_some_and(is_syllable) {
        return word;
    }
    let rest = |particle: &&str| {
        word.strip_suffix(*particle)
            .filter(|r| r.chars().count() >= 2)
    };
    PARTICLES.iter().find_map(rest).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::without_particle;

    #[test]
    fn one_particle_goes_and_short_words_stay() {
        assert_eq!(without_particle("오렐입니다"), "오렐");
        assert_eq!(without_particle("시장은"), "시장");
        assert_eq!(without_particle("마을의"), "마을");
        assert_eq!(without_particle("나는"), "나는");
        assert_eq!(without_particle("ferry"), "ferry");
    }
}
