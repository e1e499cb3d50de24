//! Units and magnitudes that follow a number: `5 km` and `5 kilometres` are one length, `1.5 million` is 1500000.

/// Spellings of a unit, its symbol first. Only metric and everyday units: those that answers are given in.
const UNITS: [&[&str]; 34] = [
    &[
        "km",
        "kms",
        "kilometer",
        "kilometers",
        "kilometre",
        "kilometres",
        "км",
    ],
    &["m", "meter", "meters", "metre", "metres", "м"],
    &[
        "cm",
        "centimeter",
        "centimeters",
        "centimetre",
        "centimetres",
        "см",
    ],
    &[
        "mm",
        "millimeter",
        "millimeters",
        "millimetre",
        "millimetres",
        "мм",
    ],
    &["mi", "mile", "miles"],
    &["ft", "foot", "feet"],
    &["in", "inch", "inches"],
    &["yd", "yard", "yards"],
    &[
        "kg",
        "kgs",
        "kilogram",
        "kilograms",
        "kilogramme",
        "kilogrammes",
        "кг",
    ],
    &["g", "gram", "grams", "gramme", "grammes"],
    &["mg", "milligram", "milligrams"],
    &["t", "ton", "tons", "tonne", "tonnes"],
    &["lb", "lbs", "pound", "pounds"],
    &["oz", "ounce", "ounces"],
    &["l", "liter", "liters", "litre", "litres"],
    &[
        "ml",
        "milliliter",
        "milliliters",
        "millilitre",
        "millilitres",
    ],
    &["ha", "hectare", "hectares"],
    &["s", "sec", "secs", "second", "seconds"],
    &["ms", "millisecond", "milliseconds"],
    &["min", "mins", "minute", "minutes"],
    &["h", "hr", "hrs", "hour", "hours"],
    &["km/h", "kmh", "kph"],
    &["mph"],
    &["w", "watt", "watts"],
    &["kw", "kilowatt", "kilowatts"],
    &["mw", "megawatt", "megawatts"],
    &["kwh"],
    &["v", "volt", "volts"],
    &["hz", "hertz"],
    &["khz", "kilohertz"],
    &["mhz", "megahertz"],
    &["kb", "kilobyte", "kilobytes"],
    &["mb", "megabyte", "megabytes"],
    &["gb", "gigabyte", "gigabytes"],
];

/// Units that are signs, and the words for them.
const SIGNS: [&[&str]; 7] = [
    &[
        "%",
        "percent",
        "percents",
        "per cent",
        "pct",
        "prozent",
        "procent",
        "pourcent",
        "pour cent",
        "por ciento",
        "por cento",
        "per cento",
        "процент",
        "процента",
        "процентов",
        "パーセント",
        "퍼센트",
        "प्रतिशत",
        "بالمئة",
        "بالمائة",
    ],
    &[
        "‰",
        "permille",
        "per mille",
        "per mil",
        "promille",
        "pour mille",
        "por mil",
    ],
    &["$", "dollar", "dollars", "usd"],
    &["€", "euro", "euros", "eur"],
    &["£", "gbp"],
    &["¥", "yen", "yuan"],
    &["₹", "rupee", "rupees", "inr"],
];

/// Whether a sign follows its number; those of money may stand on either side.
pub(super) fn follows(sign: &str) -> bool {
    matches!(sign, "%" | "‰")
}

/// Words that multiply a number before them, and their power of ten.
const MAGNITUDES: [(usize, &[&str]); 4] = [
    (
        3,
        &[
            "thousand",
            "tausend",
            "mille",
            "mil",
            "тысяч",
            "тысячи",
            "тыс",
        ],
    ),
    (
        6,
        &[
            "million",
            "millions",
            "mio",
            "millionen",
            "millones",
            "milioni",
            "миллион",
            "миллиона",
            "миллионов",
            "млн",
        ],
    ),
    (
        9,
        &[
            "billion",
            "billions",
            "bn",
            "milliarde",
            "milliarden",
            "milliard",
            "milliards",
            "миллиард",
            "миллиардов",
            "млрд",
        ],
    ),
    (12, &["trillion", "trillions"]),
];

/// The same for the letters of East Asia, which stand against the number.
const EAST_ASIAN: [(usize, &[char]); 5] = [
    (2, &['百', '백']),
    (3, &['千', '천']),
    (4, &['万', '萬', '만']),
    (8, &['亿', '億', '억']),
    (12, &['兆', '조']),
];

fn first_of(table: &[&'static [&'static str]], word: &str) -> Option<&'static str> {
    let row = table.iter().find(|row| row.contains(&word))?;
    row.first().copied()
}

/// The symbol of the unit that `word` (in normal form) names.
pub(super) fn unit(word: &str) -> Option<&'static str> {
    first_of(&UNITS, word)
}

/// The sign that `word` names or is.
pub(super) fn sign(word: &str) -> Option<&'static str> {
    first_of(&SIGNS, word)
}

/// The power of ten of a magnitude word.
pub(super) fn magnitude(word: &str) -> Option<usize> {
    let row = MAGNITUDES.iter().find(|(_, words)| words.contains(&word))?;
    Some(row.0)
}

/// The power of ten of an East Asian magnitude letter.
pub(super) fn east_asian_magnitude(letter: char) -> Option<usize> {
    let row = EAST_ASIAN
        .iter()
        .find(|(_, letters)| letters.contains(&letter))?;
    Some(row.0)
}
