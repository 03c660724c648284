#!/usr/bin/env python3
"""make_questions -- writes questions.jsonl: 1,000 questions with known answers, the same in every run.

    python3 make_questions.py > questions.jsonl

Facts stand below as tables; arithmetic, dates and conversions are computed, so that their answers are right.
"""
import datetime
import json
import random

TOTAL = 1000

CAPITALS = """Afghanistan Kabul|Albania Tirana|Algeria Algiers|Angola Luanda|Argentina Buenos_Aires|Armenia Yerevan
Australia Canberra|Austria Vienna|Azerbaijan Baku|Bahrain Manama|Bangladesh Dhaka|Belarus Minsk|Belgium Brussels
Bhutan Thimphu|Botswana Gaborone|Brazil Brasília|Bulgaria Sofia|Cambodia Phnom_Penh|Cameroon Yaoundé|Canada Ottawa
Chad N'Djamena|Chile Santiago|China Beijing|Colombia Bogotá|Croatia Zagreb|Cuba Havana|Cyprus Nicosia
Czechia Prague|Denmark Copenhagen|Ecuador Quito|Egypt Cairo|Estonia Tallinn|Ethiopia Addis_Ababa|Fiji Suva
Finland Helsinki|France Paris|Gabon Libreville|Georgia Tbilisi|Germany Berlin|Ghana Accra|Greece Athens
Guatemala Guatemala_City|Guinea Conakry|Haiti Port-au-Prince|Hungary Budapest|Iceland Reykjavík|India New_Delhi
Indonesia Jakarta|Iran Tehran|Iraq Baghdad|Ireland Dublin|Italy Rome|Jamaica Kingston|Japan Tokyo|Jordan Amman
Kenya Nairobi|Kuwait Kuwait_City|Kyrgyzstan Bishkek|Laos Vientiane|Latvia Riga|Lebanon Beirut|Liberia Monrovia
Libya Tripoli|Lithuania Vilnius|Luxembourg Luxembourg|Madagascar Antananarivo|Malawi Lilongwe
Malaysia Kuala_Lumpur|Mali Bamako|Malta Valletta|Mexico Mexico_City|Moldova Chișinău|Mongolia Ulaanbaatar
Montenegro Podgorica|Morocco Rabat|Mozambique Maputo|Namibia Windhoek|Nepal Kathmandu|New_Zealand Wellington
Nicaragua Managua|Niger Niamey|Nigeria Abuja|North_Macedonia Skopje|Norway Oslo|Oman Muscat|Pakistan Islamabad
Panama Panama_City|Paraguay Asunción|Peru Lima|the_Philippines Manila|Poland Warsaw|Portugal Lisbon|Qatar Doha
Romania Bucharest|Russia Moscow|Rwanda Kigali|Saudi_Arabia Riyadh|Senegal Dakar|Serbia Belgrade|Sierra_Leone Freetown
Slovakia Bratislava|Slovenia Ljubljana|Somalia Mogadishu|South_Korea Seoul|Spain Madrid|Sudan Khartoum
Sweden Stockholm|Switzerland Bern|Syria Damascus|Tajikistan Dushanbe|Thailand Bangkok|Tunisia Tunis|Turkey Ankara
Turkmenistan Ashgabat|Uganda Kampala|Ukraine Kyiv|the_United_Kingdom London|the_United_States Washington
Uruguay Montevideo|Uzbekistan Tashkent|Venezuela Caracas|Vietnam Hanoi|Zambia Lusaka|Zimbabwe Harare"""

CURRENCIES = """Japan yen|India rupee|China yuan|Sweden krona|Denmark krone|Poland złoty|Hungary forint|Turkey lira
Thailand baht|Vietnam dong|South_Korea won|Mexico peso|Brazil real|South_Africa rand|Nigeria naira|Kenya shilling
Ethiopia birr|Ghana cedi|Israel shekel|Ukraine hryvnia|Russia rouble|Bangladesh taka|Malaysia ringgit|Indonesia rupiah
Peru sol|Czechia koruna|Bulgaria lev|Georgia lari|Armenia dram|Mongolia tögrög|Switzerland franc|Zambia kwacha"""

ELEMENTS = """H hydrogen|He helium|Li lithium|Be beryllium|B boron|C carbon|N nitrogen|O oxygen|F fluorine|Ne neon
Na sodium|Mg magnesium|Al aluminium|Si silicon|P phosphorus|S sulfur|Cl chlorine|Ar argon|K potassium|Ca calcium
Sc scandium|Ti titanium|V vanadium|Cr chromium|Mn manganese|Fe iron|Co cobalt|Ni nickel|Cu copper|Zn zinc
Ga gallium|Ge germanium|As arsenic|Se selenium|Br bromine|Kr krypton"""
LATE_ELEMENTS = """Ag silver|Sn tin|I iodine|Xe xenon|W tungsten|Pt platinum|Au gold|Hg mercury|Pb lead|Rn radon
Ra radium|U uranium|Pu plutonium|Cd cadmium|Sb antimony|Ba barium"""

OPPOSITES = """hot cold|early late|full empty|wide narrow|ancient modern|brave cowardly|generous stingy
transparent opaque|increase decrease|victory defeat|arrive depart|import export|maximum minimum|guilty innocent|permanent temporary
rough smooth|shallow deep|artificial natural|optimist pessimist|expand shrink|accept refuse|love hate|loud quiet"""

FACTS = [
    ("How many legs does a spider have?", "8"),
    ("How many players of one team are on the field in football (soccer)?", "11"),
    ("How many strings does a violin have?", "4"),
    ("How many keys does a standard piano have?", "88"),
    ("How many squares does a chessboard have?", "64"),
    ("How many bones does an adult human body usually have?", "206"),
    ("How many planets does the solar system have?", "8"),
    ("How many continents are there, counting Europe and Asia separately?", "7"),
    ("How many sides does a dodecagon have?", "12"),
    ("How many faces does a cube have?", "6"),
    ("How many edges does a tetrahedron have?", "6"),
    ("How many cards does a standard deck have without jokers?", "52"),
    ("How many letters does the English alphabet have?", "26"),
    ("How many chambers does the human heart have?", "4"),
    ("How many bits does a byte have?", "8"),
    ("How many degrees does a full circle have?", "360"),
    ("How many time zones wide is mainland China officially?", "1"),
    ("How many players does a basketball team have on the court?", "5"),
    ("How many zeros does a million have?", "6"),
    ("How many minutes does a full day have?", "1440"),
    ("How many teeth does an adult human usually have, wisdom teeth included?", "32"),
    ("How many rings are on the Olympic flag?", "5"),
    ("How many stars are on the flag of the United States?", "50"),
    ("How many stars are on the flag of the European Union?", "12"),
    ("How many arms does an octopus have?", "8"),
    ("How many hydrogen atoms does a molecule of water have?", "2"),
    ("Which planet is closest to the sun?", "Mercury"),
    ("Which planet is the largest of the solar system?", "Jupiter"),
    ("Which planet is known for its large, bright rings?", "Saturn"),
    ("Which planet is called the red planet?", "Mars"),
    ("Which ocean is the largest?", "Pacific"),
    ("Which ocean lies between Africa and Australia?", "Indian"),
    ("Which desert covers most of North Africa?", "Sahara"),
    ("Which mountain is the highest above sea level?", "Everest"),
    ("Which animal is the largest that has ever lived?", "blue whale"),
    ("Which land animal is the fastest?", "cheetah"),
    ("Which bird is the largest alive?", "ostrich"),
    ("Which organ pumps blood through the human body?", "heart"),
    ("Which organ of the human body is the largest?", "skin"),
    ("Which gas makes up most of the air?", "nitrogen"),
    ("Which gas do animals need to breathe?", "oxygen"),
    ("Which metal is liquid at room temperature?", "mercury"),
    ("Which mineral is the hardest that occurs in nature?", "diamond"),
    ("Which vitamin does the skin make in sunlight?", "D"),
    ("Which language has the most native speakers?", "Mandarin"),
    ("Which country has the largest area?", "Russia"),
    ("Which country is shaped like a boot?", "Italy"),
    ("Which continent is the coldest?", "Antarctica"),
    ("Which continent has the most inhabitants?", "Asia"),
    ("Which river flows through Cairo?", "Nile"),
    ("Which river flows through London?", "Thames"),
    ("Which river flows through Paris?", "Seine"),
    ("Which river flows through Vienna and Budapest?", "Danube"),
    ("Which sea lies between Europe and Africa?", "Mediterranean"),
    ("Which city was called Constantinople until the 20th century?", "Istanbul"),
    ("Which instrument measures air pressure?", "barometer"),
    ("Which instrument measures temperature?", "thermometer"),
    ("Who wrote the play Romeo and Juliet?", "Shakespeare"),
    ("Who wrote the novel Don Quixote?", "Cervantes"),
    ("Who wrote the novel War and Peace?", "Tolstoy"),
    ("Who painted the Mona Lisa?", "Leonardo"),
    ("Who painted the ceiling of the Sistine Chapel?", "Michelangelo"),
    ("Who composed the Ninth Symphony with the Ode to Joy?", "Beethoven"),
    ("Who published the theory of general relativity?", "Einstein"),
    ("Who discovered penicillin?", "Fleming"),
    ("Who was the first human in space?", "Gagarin"),
    ("Who was the first human on the moon?", "Armstrong"),
    ("Who formulated the laws of motion and of universal gravitation?", "Newton"),
    ("In which year did the Second World War end?", "1945"),
    ("In which year did the First World War begin?", "1914"),
    ("In which year did the Berlin Wall fall?", "1989"),
    ("In which year did humans first land on the moon?", "1969"),
    ("In which year did the French Revolution begin?", "1789"),
    ("In which year did Columbus first reach the Americas?", "1492"),
    ("In which year was the United Nations founded?", "1945"),
]

# (unit, other unit, how many of the other make up one)
UNITS = [
    ("kilometres", "metres", 1000), ("metres", "centimetres", 100), ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000), ("tonnes", "kilograms", 1000), ("grams", "milligrams", 1000),
    ("litres", "millilitres", 1000), ("hours", "minutes", 60), ("minutes", "seconds", 60), ("days", "hours", 24),
    ("weeks", "days", 7), ("feet", "inches", 12), ("yards", "feet", 3), ("dozens", "pieces", 12),
    ("kibibytes", "bytes", 1024), ("hectares", "square metres", 10000), ("square metres", "square centimetres", 10000),
    ("pounds", "ounces", 16), ("gallons", "quarts", 4), ("centuries", "years", 100),
]

WORDS = """apple bridge candle desert engine forest garden harbour island journey kitchen lantern mountain needle orange
pencil quarry ribbon silver thunder umbrella village window yellow zebra basket copper dolphin
evening feather""".split()

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
NUMBER_ONLY = " Answer with the number only."
ONE_WORD = " Answer with one word."
NAME_ONLY = " Answer with the name only."


def pairs(table):
    """"A b|C d" as [("A", "b"), ("C", "d")]; _ stands for a space."""
    rows = [row for line in table.split("\n") for row in line.split("|")]
    return [tuple(part.replace("_", " ") for part in row.split(" ", 1)) for row in rows]


def capitals(_):
    for country, city in pairs(CAPITALS):
        yield f"What is the capital of {country}?{NAME_ONLY}", city


def currencies(_):
    for country, currency in pairs(CURRENCIES):
        yield f"What is the currency of {country} called?{ONE_WORD}", currency


def elements(_):
    for number, (symbol, name) in enumerate(pairs(ELEMENTS), 1):
        yield f"Which chemical element has the symbol {symbol}?{NAME_ONLY}", name
        yield f"What is the atomic number of {name}?{NUMBER_ONLY}", number
    for symbol, name in pairs(LATE_ELEMENTS):
        yield f"What is the chemical symbol of {name}? Answer with the symbol only.", symbol


def opposites(_):
    for word, opposite in pairs(OPPOSITES):
        yield f'What is the opposite of "{word}"?{ONE_WORD}', opposite


def facts(_):
    for question, answer in FACTS:
        yield question + (NUMBER_ONLY if answer.isdigit() else " Answer with one or two words."), answer


def units(rng):
    for large, small, factor in UNITS:
        for count in rng.sample(range(2, 40), 3):
            yield f"How many {small} are {count} {large}?{NUMBER_ONLY}", count * factor
        count = rng.randrange(2, 30)
        yield f"How many {large} are {count * factor} {small}?{NUMBER_ONLY}", count


def arithmetic(rng):
    while True:
        a, b = rng.randrange(12, 999), rng.randrange(12, 999)
        yield f"What is {a} + {b}?{NUMBER_ONLY}", a + b
        yield f"What is {max(a, b)} - {min(a, b)}?{NUMBER_ONLY}", abs(a - b)
        a, b = rng.randrange(3, 60), rng.randrange(3, 30)
        yield f"What is {a} * {b}?{NUMBER_ONLY}", a * b
        yield f"What is {a * b} / {b}?{NUMBER_ONLY}", a
        percent, whole = rng.choice([5, 10, 15, 20, 25, 40, 60, 75]), rng.randrange(1, 40) * 20
        yield f"How much is {percent} percent of {whole}?{NUMBER_ONLY}", percent * whole // 100


def word_problems(rng):
    while True:
        people, each, lost = rng.randrange(3, 30), rng.randrange(2, 20), rng.randrange(1, 6)
        yield (f"{people} people bring {each} bottles each, and {lost} of the bottles break. How many whole bottles "
               f"are there?{NUMBER_ONLY}"), people * each - lost
        speed, hours = rng.randrange(3, 25) * 5, rng.randrange(2, 9)
        yield (f"A train travels at {speed} kilometres per hour for {hours} hours without a stop. How many kilometres "
               f"does it travel?{NUMBER_ONLY}"), speed * hours
        price, count = rng.randrange(2, 15), rng.randrange(2, 9)
        paid = (price * count // 50 + 1) * 50
        yield (f"A book costs {price} euros. Somebody buys {count} of them and pays with {paid} euros. How many euros "
               f"are given back?{NUMBER_ONLY}"), paid - price * count
        width, length = rng.randrange(3, 40), rng.randrange(3, 40)
        yield (f"A garden is {width} metres wide and {length} metres long. How many metres of fence go around "
               f"it?{NUMBER_ONLY}"), 2 * (width + length)


def dates(rng):
    while True:
        start, ahead = rng.randrange(7), rng.randrange(8, 60)
        yield (f"Today is {DAYS[start]}. Which day of the week is it in {ahead} days?{ONE_WORD}",
               DAYS[(start + ahead) % 7])
        year = rng.choice([1900, 2000, 2100]) if rng.random() < 0.2 else rng.randrange(1901, 2099)
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        yield (f"Is the year {year} a leap year in the Gregorian calendar? Answer with yes or no.",
               "yes" if leap else "no")
        day = datetime.date(rng.randrange(1950, 2025), rng.randrange(1, 13), rng.randrange(1, 29))
        yield (f"Which day of the week was {day.isoformat()} (year, month, day)?{ONE_WORD}", DAYS[day.weekday()])


def sequences(rng):
    while True:
        first, step = rng.randrange(1, 40), rng.randrange(2, 15)
        terms = [first + i * step for i in range(6)]
        yield f"Which number comes next: {', '.join(map(str, terms[:5]))}?{NUMBER_ONLY}", terms[5]
        first, factor = rng.randrange(1, 7), rng.randrange(2, 5)
        terms = [first * factor ** i for i in range(6)]
        yield f"Which number comes next: {', '.join(map(str, terms[:5]))}?{NUMBER_ONLY}", terms[5]
        offset = rng.randrange(0, 30)
        terms = [(i + 1) ** 2 + offset for i in range(6)]
        yield f"Which number comes next: {', '.join(map(str, terms[:5]))}?{NUMBER_ONLY}", terms[5]


def roman(number):
    out = ""
    for value, sign in [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
                        (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]:
        while number >= value:
            out, number = out + sign, number - value
    return out


def numerals(rng):
    while True:
        number = rng.randrange(4, 2100)
        yield f"Which number is written {roman(number)} in Roman numerals?{NUMBER_ONLY}", number
        number = rng.randrange(4, 2100)
        yield f"Write {number} in Roman numerals. Answer with the numeral only.", roman(number)
        number = rng.randrange(5, 256)
        yield f"Write the decimal number {number} in binary. Answer with the digits only.", f"{number:b}"


def primes(rng):
    while True:
        number = rng.randrange(11, 400) | 1
        is_prime = all(number % d for d in range(2, int(number ** 0.5) + 1))
        yield f"Is {number} a prime number? Answer with yes or no.", "yes" if is_prime else "no"


def words(rng):
    for word in WORDS:
        yield f'How many letters does the word "{word}" have?{NUMBER_ONLY}', len(word)
        yield f'Write the word "{word}" backwards.{ONE_WORD}', word[::-1]
        three = rng.sample(WORDS, 3)
        yield (f"Which of these words comes first in alphabetical order: {', '.join(three)}?{ONE_WORD}", min(three))


SHARES = [  # all that the tables give, then so many of what never ends
    (capitals, None), (currencies, None), (elements, None), (opposites, None), (facts, None), (units, None),
    (words, None), (word_problems, 100), (dates, 90), (sequences, 60), (numerals, 75), (primes, 40),
    (arithmetic, TOTAL),
]


def main():
    asked, rows = set(), []
    for category, share in SHARES:
        rng = random.Random(category.__name__)
        count = 0
        for prompt, expected in category(rng):
            if len(rows) == TOTAL or count == share:
                break
            if prompt in asked:
                continue
            asked.add(prompt)
            count += 1
            rows.append({"id": f"{category.__name__}_{count:03d}", "prompt": prompt, "expected": str(expected),
                         "category": category.__name__})
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
