"""Everyday English words, of which sentences without a wake word are made."""

_TEXT = """
a able about above add after again age ago air all almost alone along already also always am an and animal another
answer any anything are area around as ask at away baby back bad ball bank be beautiful because become bed before begin
behind believe below best better between big bird black blue boat body book both box boy bread break bring brother brown
build business but buy by call came can car care carry cat certain chair change child children city class clean clear
close cold color come common complete computer cook could country cover cross cut dance dark daughter day dear decide
deep did different difficult dinner do doctor does dog done door down dream dress drink drive dry during each early
earth east easy eat education egg eight either electric else end enough enter even evening ever every example eye face
fact fall family far farm fast father feel few field fight figure fill final find fine finger finish fire first fish
five floor flower fly follow food foot for forget form four free friend from front full game garden gave general get
girl give glass go gold gone good government great green ground group grow had hair half hand happen happy hard has hat
have he head hear heart heavy held hello help her here high him his history hold holiday home hope horse hospital hot
hour house how hundred husband i ice idea if important in information inside interest into is island it job join jump
just keep kind king kitchen knew know language large last late laugh law lay lead learn leave left less let letter life
light like line listen little live long look lost lot love low machine made make man many map march mark market matter
may me mean measure meat meet meeting member middle might mile milk million mind minute miss money month moon more
morning most mother mountain move much music must my name near necessary need never new news next nice night nine no
north nose nothing notice now number ocean of off office often oh oil old on once one only open or orange order other
our out outside over own page paint paper parent part party pass past pay people perhaps person phone picture piece
place plain plan plane plant play please point police poor possible potato power present president pretty price problem
produce program public pull put question quick quiet quite radio rain ran reach read ready real reason record red
remember rest restaurant rich ride right ring river road rock room round rule run said sail same saturday saw say school
science sea season second secret see seem self sentence serve set seven several shall she ship shoe shop short should
show side simple since sing sister sit six size sleep slow small snow so soft some something sometimes son song soon
sound south space speak special spring stand star start state station stay step still stone stood stop store story
straight strange street strong student study such sugar summer sun sure surface table take talk tall tea teacher
telephone tell ten test than that the their them then there these they thing think this those thought thousand three
through thursday time to today together told tomorrow tonight too took top toward town train travel tree trouble true
try turn twelve twenty two uncle under understand unit until up us use usual very village visit voice wait walk wall
want war warm was watch water way we weather week weight well went were west what wheel when where which while white who
whole why wide wife wild will wind window winter wish with without woman wonder wood word work world would write year
yellow yes yesterday yet you young your
"""
WORDS = tuple(_TEXT.split())
