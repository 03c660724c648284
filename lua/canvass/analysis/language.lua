-- The language of a text: by its small words, which no text of some length does without, else by its script.

local text = require "canvass.text"

local language = {}

local LEAST = 3     -- small words that must be there
local SHARE = 0.08  -- of all words

local function words(s)
    local list = {}
    for word in s:gmatch("%S+") do
        list[#list + 1] = word
    end
    return list
end

-- Folded, as the comparison sees words.
language.words = {
    en = words("the of and to in is was that it for as with are be this by not from at which were have has its " ..
        "their but"),
    de = words("der die das und ist nicht ein eine zu den von mit sich des auf für im dem auch es werden wurde " ..
        "durch als sind"),
    fr = words "le la les des et est une dans que qui pour pas sur du par plus ce avec au sont cette ont été aux ces",
    es = words "el la los las de y en que es una por con para del se no su como más fue son al lo este esta",
    pt = words "o a os as de e em que é uma por com para do da não se no na como mais foi são ao dos das",
    it = words "il la di che e è un una per con del della non i gli le sono da nel si come più alla dei è stato",
    nl = words "de het een van en in is dat op te zijn met voor niet aan er om ook als door werd bij worden deze",
    sv = words "och att det som en på är av för med den till ett inte om har de var kan från eller också",
    da = words "og at det som en på er af for med den til et ikke om har de var kan fra eller også blev",
    no = words "og at det som en på er av for med den til et ikke om har de var kan fra eller også ble",
    fi = words "ja on ei se että oli hän ovat mutta myös kun tai joka sen ole kuin jotka voi",
    pl = words "i w na z się nie jest to do że o jak po przez dla od są który oraz było ale która",
    cs = words "a v na se je že to s z do o jako pro byl které který nebo jsou také by ale když",
    ro = words "și în de la a cu pe că o nu din este un pentru mai care sau au fost sunt prin ca",
    hu = words "a az és hogy nem is egy ez volt meg de csak már mint vagy voltak amely",
    tr = words "ve bir bu için ile da de olarak daha olan gibi çok en kadar sonra ama veya değil",
    id = words "yang dan di dari untuk dengan ini itu pada adalah dalam tidak oleh akan ke sebagai juga atau",
    vi = words "và của là có không được trong cho một các với những này đã để người khi từ",
    ru = words "и в не на что с по как это для из к от был но или его также были при которые является",
    uk = words "і в не на що з та як для це до від був або його також були при які є",
    ar = words "في من على إلى أن هذا التي الذي عن مع هو هي كان لا ما كانت وقد بين",
    fa = words "و در به از که این را با است برای آن یک خود تا بر بود شد می",
    hi = words "के में है की और को से का एक यह पर हैं लिए नहीं कि भी था",
    zh = words "的 是 在 了 和 有 不 也 与 为 这 他 等 对 以 但 而 及 中 被",
    ja = words "の は を に が と で た し て も する です ます ない から こと",
}

-- Scripts that one language is written in.
local of_script = {
    Hang = "ko", Kana = "ja", Hira = "ja", Thai = "th", Grek = "el", Hebr = "he", Armn = "hy", Geor = "ka", Hani = "zh",
    Khmr = "km", Laoo = "lo", Mymr = "my", Taml = "ta", Telu = "te", Beng = "bn", Gujr = "gu", Knda = "kn", Mlym = "ml",
}

local lexicon = text.lexicon(language.words)

-- t: of text.new. The code of ISO 639-1, or nil: too short, mixed, or a language that is not in the list.
function language.of(t)
    local name, hits, second = text.closest(lexicon, t)
    if name and hits >= LEAST and hits > second and hits >= SHARE * #t then
        return name
    end
    return of_script[text.script(t) or ""]
end

return language
