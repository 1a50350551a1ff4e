"""Short, ordinary English sentences from templates: the text of the embedded data set.

Lower-case letters, spaces and `. , ?` only, so that a character vocabulary has at most 30 entries. The word lists are
ours, written for visible speech: many bilabials (p, b, m, where the lips must close), rounded sounds (oo, w, sh), wide vowels
and open ones, in every position of a word. Sentences take 2 to 4 s at 150 words a minute.
"""
import string
from collections.abc import Iterator

import numpy as np

CHARACTERS = " " + string.ascii_lowercase + ".,?"

WORDS = {
    "who": "my brother|your mother|our uncle|the farmer|a small boy|the old man|mary|tom and bob|paul|the baker|"
           "my sister|emma|the painter|a young woman|the teacher|pam|our neighbour|the captain|her father|sophie|"
           "the new waiter|three women|oliver|the gardener|george|a tall soldier|the doctor|my cousin|lucy|the boatman",
    "did": "bought|found|moved|wiped|painted|brought|dropped|showed us|mended|washed|put away|picked up|borrowed|"
           "wrapped up|looked for|opened|carried|gave me|threw away|kept|shared|forgot|measured|pushed",
    "what": "the blue map|a warm apple pie|some fresh butter|the wooden boat|a pair of boots|the paper lamp|my umbrella|"
            "a bowl of soup|the broken piano|five ripe plums|the small box|a cup of tea|the brown bread|two white shirts|"
            "an empty bottle|the heavy bag|a bunch of roses|the green book|your old camera|a big pumpkin|the yellow ball|"
            "a few mushrooms|the cheese and ham|our garden chairs|the silver spoon|a jar of jam|the front wheel|"
            "a piece of rope|a dozen eggs|the prize|that funny picture|the purple vase",
    "where": "by the window|on the table|under the bridge|near the farm|in the bathroom|behind the shop|at the market|"
             "on the beach|above the fireplace|from the museum|beside the pool|in the blue room|down the road|"
             "at the back of the house|on top of the shelf|before the big gate|in front of the church|by the sea",
    "when": "this morning|on monday|before lunch|after the rain|last summer|in the afternoon|every evening|at noon|"
            "on a warm day in may|before supper|in september|yesterday|at half past five|when we came home|"
            "while we were sleeping|two weeks ago",
    "often": "every evening|in the afternoon|at noon|in september|before lunch|after the rain|on monday|in may|"
             "all summer|this week|before supper|in the morning|on warm days|as soon as we move|at five|in autumn",
    "thing": "boat|pumpkin|lamp|river|mushroom|melody|kitchen|moon|wave|bus|harbour|apple|picture|pony|window|shoe|balloon|"
             "puppy|room|dinner|bell|path|mirror|beach|wolf|piano|thumb|voice|village|farm|bowl|poppy",
    "how": "warm|blue|empty|beautiful|small|cheap|smooth|deep|round|bright|soft|wide|mild|heavy|quiet|lovely|"
           "famous|open|brown|sharp|shabby|old|fresh|purple|strange|bumpy|yellow|popular|lazy|amazing",
    "do": "move the boat|buy a new lamp|play the piano|climb up the hill|wash your hands|bake some bread|come to supper|"
          "swim in the bay|wait for the bus|open the box|pick a few apples|mop the floor|visit the museum|read this book|"
          "pay the bill|fly over the sea|choose a warm coat|put the milk away|jump over the puddle|make a paper bird|"
          "feed the puppy|pull the rope|walk through the wood|keep the number|bring more water",
    "many": "five|two|seven|a few|many|three big|four tiny|some|most|eleven|about a hundred|both",
    "ones": "puppies|boys and girls|buses|birds|babies|farmers|lambs|people|bees|ships|robins|workers|mice|swans|"
            "young people|women|wolves|ponies|pupils|cows",
    "go": "jump over the wall|sleep in the barn|move to the south|meet by the fountain|play in the mud|wait at the stop|"
          "swim across the pool|fly above the bay|push through the bushes|come back in spring|eat bread and butter|"
          "hope for better weather|march up the main road|vanish before morning|look for a warm place|share one room",
    "say": "maybe|of course|oh well|i believe|perhaps|to be fair|by the way|you know|in the beginning|for example",
}

TEMPLATES = (
    "{who} {did} {what} {where}.",
    "{when}, {who} {did} {what}.",
    "{who} {did} {what} {when}.",
    "the {thing} {where} was {how} and {how}.",
    "why is the {thing} so {how} {often}?",
    "do you want to {do} {often}?",
    "please {do}, and then {do}.",
    "{many} {ones} {go} {often}.",
    "{say}, the {thing} {where} is {how}.",
    "we should {do} before the {ones} {go}.",
    "who {did} {what} {where}?",
    "{who} and i may {do} {often}.",
    "{say}, {many} {ones} {go}.",
    "a {thing} is never as {how} as a {thing}.",
    "could {who} help me {do}?",
    "she put a {thing} and a {thing} {where}.",
    "if you {do}, the {ones} will {go}.",
)  # fmt: skip
_LISTS = {name: words.split("|") for name, words in WORDS.items()}


def sentences(seed: int = 0) -> Iterator[str]:
    """Endless different sentences, the same for the same seed; every template comes round in turn.

    A sentence is never yielded twice, so that a set held out by its place in this sequence shares no sentence with the rest.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 0x5E17]))
    seen: set[str] = set()
    place = 0
    while True:
        if place % len(TEMPLATES) == 0:
            order = rng.permutation(len(TEMPLATES))
        template = TEMPLATES[order[place % len(TEMPLATES)]]
        place += 1
        for _ in range(20):  # a template that has run dry is passed over
            sentence = _fill(template, rng)
            if sentence not in seen:
                seen.add(sentence)
                yield sentence
                break


def _fill(template: str, rng: np.random.Generator) -> str:
    used: set[str] = set()
    parts = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name:
            choices = _LISTS[name]
            word = choices[rng.integers(len(choices))]
            while word in used:
                word = choices[rng.integers(len(choices))]
            used.add(word)
            if parts[-1].endswith("a ") and parts[-1][-3:-2] in ("", " ") and word[0] in "aeiou":
                parts[-1] = parts[-1][:-1] + "n "
            parts.append(word)
    return "".join(parts)
