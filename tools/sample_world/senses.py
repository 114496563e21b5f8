"""wic: words of several senses, and contexts that fix the sense."""

from __future__ import annotations

import re
from random import Random

from tools.sample_world.grammar import capital
from tools.sample_world.sampling import Row
from tools.sample_world.world import NAMES, WEEKDAYS

_CONTEXTS = """
bank
    {n} fished from the *bank of the river; the *bank was muddy after the flood; willows
    grow along the *bank; the boat drifted to the far *bank
    | {n} put money in the *bank; the *bank closed all accounts; {n} got a loan from the
    *bank; a *bank was robbed by two men
bat
    a *bat flew out of the cave; the *bat hung from the roof and slept; {n} was scared by a
    *bat in the attic; the *bat hunts moths at night
    | {n} swung the *bat at the ball; the player broke his *bat; {n} bought a wooden *bat
    for the game; the team needs a new *bat
bark
    the *bark of the dog woke {n}; {n} heard a loud *bark from the yard; the puppy has a
    high *bark; one *bark scared the thief
    | the *bark of the oak is rough; {n} peeled the *bark from the log; beetles live under
    the *bark; deer ate the *bark of the young birch
spring
    the garden blooms in *spring; {n} was born in the *spring; birds return every *spring;
    after winter comes *spring
    | a *spring broke inside the sofa; {n} replaced the rusty *spring of the clock; the toy
    jumps by a metal *spring; press the *spring to open the lid
match
    {n} lit the candle with a *match; the *match burned out in the wind; a wet *match makes
    no flame; {n} struck a *match in the dark
    | {n} won the tennis *match; the *match ended in a draw; fans cheered after the *match;
    our team lost the last *match
rock
    {n} climbed over the *rock; the *rock fell from the cliff; a heavy *rock blocked the
    road; waves broke on the *rock
    | {n} plays *rock on the guitar; the band is famous for *rock; {n} prefers *rock to
    jazz; loud *rock came from the radio
star
    a *star shone above the hill; {n} saw a bright *star at night; the *star is far from the
    sun; sailors followed the *star
    | {n} became a *star of the cinema; the *star signed a photo for her fans; the film made
    him a *star; reporters met the *star at the hotel
nail
    {n} painted each *nail pink; the *nail of her thumb was long; {n} broke a *nail while
    typing; he bit every *nail on his hand
    | {n} hit the *nail with a hammer; a rusty *nail stuck out of the plank; the picture
    hangs on a *nail; {n} pulled the *nail from the board
note
    {n} left a *note on the door; the *note said to call home; {n} wrote a short *note to
    the teacher; a *note was pinned to the wall
    | {n} sang a high *note; the last *note of the song was false; the flute held one long
    *note; play this *note on the piano
plant
    {n} waters the *plant every day; the *plant needs more sun; a green *plant stood on the
    sill; the *plant grew new leaves
    | {n} works at the steel *plant; the *plant makes cars; smoke rose from the *plant; the
    *plant was shut and workers lost their jobs
mouse
    a *mouse ran across the floor; the cat caught a *mouse; {n} saw a *mouse eat the cheese;
    the *mouse hid in its hole
    | {n} clicked with the *mouse; the *mouse of the computer is broken; plug the *mouse
    into the laptop; {n} moved the *mouse to select the text
palm
    {n} held a coin in her *palm; the *palm of his hand was wet; she read the lines of my
    *palm; a splinter stuck in {n}'s *palm
    | a *palm grew on the beach; coconuts fell from the *palm; {n} sat in the shade of a
    *palm; the tall *palm bent in the wind
seal
    a *seal swam near the ice; the *seal ate a fish; {n} fed the *seal at the zoo; a baby
    *seal slept on the shore
    | the *seal on the letter was broken; {n} pressed a *seal into the wax; the king put his
    *seal on the order; the paper bears an official *seal
trunk
    the *trunk of the oak is thick; {n} carved a heart in the *trunk; moss covered the
    fallen *trunk; the *trunk has many rings
    | the elephant lifted its *trunk; the *trunk sprayed water on {n}; an elephant eats with
    its *trunk; a long *trunk took the apple
wave
    a big *wave hit the boat; {n} was pushed over by a *wave; the *wave broke on the beach;
    surfers waited for a *wave
    | {n} left with a *wave of her hand; the queen gave a *wave to the crowd; {n} answered
    with a friendly *wave; a short *wave was his only goodbye
bill
    {n} paid the *bill for dinner; the *bill was too high; a *bill came from the dentist;
    {n} split the *bill with friends
    | the duck has a flat *bill; the bird held a fish in its *bill; an eagle has a hooked
    *bill; its *bill is used to crack seeds
court
    the *court found {n} guilty; the judge left the *court; {n} told the *court the truth; a
    lawyer spoke to the *court
    | {n} ran across the tennis *court; rain made the *court wet; two players met on the
    *court; the ball flew off the *court
crane
    a *crane lifted the steel beam; the *crane stood above the building site; {n} drives a
    *crane at the harbor; the *crane lowered the box onto the ship
    | a *crane stood on one leg in the lake; the *crane spread its wings; {n} photographed a
    *crane in its nest; the *crane flies south in autumn
date
    {n} forgot the *date of the meeting; the *date was written on the letter; they set a
    *date for the wedding; what *date is the exam
    | {n} ate a sweet *date; the *date grows on a palm; a dried *date has much sugar; {n}
    put a *date into the cake
fan
    {n} is a *fan of the team; a *fan asked the singer for a photo; every *fan cheered at
    the goal; the *fan waited hours for tickets
    | the *fan cooled the hot room; {n} switched on the *fan; an electric *fan blew the
    papers away; the *fan in the kitchen is noisy
file
    {n} saved the *file on the computer; the *file of the patient was lost; the lawyer
    opened the *file; {n} sent the *file by mail
    | {n} smoothed the metal with a *file; the *file lay beside the saw; use a *file on the
    rough edge; the smith cut the bar with a *file
glass
    {n} drank a *glass of milk; the *glass was full of juice; {n} filled the *glass with
    water; a *glass of wine stood on the table
    | the window is made of *glass; {n} cut her foot on broken *glass; the door has a pane
    of *glass; sand is melted to make *glass
iron
    the gate is made of *iron; old *iron rusts in the rain; the smith bent the *iron; rocks here
    contain *iron
    | {n} burned a shirt with the *iron; the *iron is hot so press the dress; {n} unplugged
    the *iron; a steam *iron removes folds
key
    {n} lost the *key of the house; the *key turned in the lock; {n} hid the *key under the
    mat; this *key opens the gate
    | press the black *key of the piano; {n} typed with one *key missing; a *key on the
    keyboard is stuck; the song ends on the highest *key
organ
    the heart is an *organ; the doctor examined the *organ; the liver is a large *organ; {n}
    needs a new *organ soon
    | {n} plays the *organ in church; the *organ has many pipes; music from the *organ
    filled the hall; an old *organ was tuned for the concert
pen
    {n} signed with a *pen; the *pen ran out of ink; {n} borrowed a *pen to write; a red
    *pen lay on the desk
    | the pigs are in the *pen; {n} fed the sheep in the *pen; a goat jumped out of the
    *pen; the farmer cleaned the *pen
scale
    the *scale showed two pounds; {n} stood on the *scale; the baker put flour on the
    *scale; weigh it on the *scale
    | a silver *scale fell off the fish; each *scale of the snake shines; {n} scraped a
    *scale from the salmon; the lizard lost a *scale
tie
    {n} wore a blue *tie; his *tie matched the suit; {n} bought a silk *tie; the *tie was
    stained with soup
    | the game ended in a *tie; a late goal made it a *tie; the vote was a *tie; after the
    *tie both teams got a point
tank
    the *tank was full of water; fish swim in the *tank; {n} filled the *tank with fuel; the
    *tank leaked oil
    | the soldier drove a *tank; a *tank fired at the wall; the army lost a *tank; the *tank
    rolled over the trench
club
    {n} joined a chess *club; the *club meets on Monday; members of the *club voted; our
    *club has a new president
    | {n} hit the golf ball with a *club; the giant carried a wooden *club; he swung the
    *club at the bear; this *club is for long shots
chest
    {n} felt pain in her *chest; the *chest of the runner rose and fell; he has a scar on
    his *chest; the doctor listened to {n}'s *chest
    | gold was hidden in the *chest; {n} opened the old wooden *chest; the *chest was
    locked; clothes lay folded in the *chest
bow
    the hunter bent his *bow; {n} shot an arrow with a *bow; the *bow was made of yew; she
    pulled the string of the *bow
    | a red *bow was in her hair; {n} tied the ribbon in a *bow; the gift had a *bow on top;
    the dress closes with a *bow
band
    the *band played a new song; {n} sings in a *band; the *band has two guitars; fans
    waited for the *band
    | a rubber *band held the cards; {n} wore a *band around her head; the *band snapped
    when stretched; a black *band was on his arm
ring
    {n} wore a gold *ring; the *ring has a diamond; {n} lost her wedding *ring; he gave her
    a *ring
    | the *ring of the phone woke {n}; one *ring of the bell starts class; {n} heard a *ring
    at the door; after the third *ring she answered
letter
    {n} mailed a *letter; the *letter arrived today; {n} wrote a long *letter home; a
    *letter from her aunt came
    | the first *letter of the word is a; {n} cannot read the last *letter; the child
    learned a new *letter; each *letter is printed in red
"""
"""A word, then indented its contexts by sense: ``|`` parts senses, ``;`` contexts.

``{n}`` is a name, ``*`` stands before the word.
"""


def _inventory() -> dict[str, tuple[tuple[str, ...], ...]]:
    table: dict[str, tuple[tuple[str, ...], ...]] = {}
    for block in re.split(r"\n(?=\w)", _CONTEXTS.strip()):
        word, contexts = block.split("\n", 1)
        table[word] = tuple(
            tuple(" ".join(context.split()) for context in sense.split(";"))
            for sense in contexts.split("|")
        )
    return table


SENSES = _inventory()


def wic(rng: Random) -> list[Row]:
    """A word in two sentences; the same sense 1, different senses 0."""
    label = rng.randrange(2)
    word = rng.choice(tuple(SENSES))
    sense, rival = rng.sample(SENSES[word], 2)
    contexts = rng.sample(sense, 2) if label else [rng.choice(sense), rng.choice(rival)]
    row: Row = {"word": word}
    for number, context in enumerate(contexts, 1):
        text = placed(rng, context)
        start = text.index("*")
        row[f"sentence{number}"] = text.replace("*", "")
        row[f"start{number}"] = start
        row[f"end{number}"] = start + len(word)
    return [row | {"label": label}]


def placed(rng: Random, context: str) -> str:
    """The context as a sentence with its mark, a name filled in and perhaps framed."""
    text = context.format(n=rng.choice(NAMES))
    opening = rng.choice(
        ("", "", f"on {rng.choice(WEEKDAYS)} ", f"{rng.choice(NAMES)} said that ", "I think that ")
    )
    return capital(opening + text) + "."
