page-title = { $name }: Leute, die hören wie du
page-claim = Leute, die hören wie du, warum, und was sie dir als Nächstes vorspielen würden.

## The tabs

tab-compare = Zwei vergleichen
tab-blend = Mix
tab-map = Karte
tab-search = Suche
tab-continue = Playlist fortsetzen
tab-mine = Meine Daten

## Find my people

find = Meine Leute finden
find-empty = Wer hört wie du?
find-empty-detail = Füge ein Profil ein oder leg eine exportierte Datei ab. Nichts wird behalten.
find-profile = Profil
find-profile-info = Von Spotify (URL, URI oder Benutzer-ID) oder ListenBrainz (https://listenbrainz.org/user/…)
find-nobody = Wessen Profil?
find-nobody-detail = Füge den Link von Spotify ein: Profil, Teilen, Link kopieren.
find-consent = Behalten, was ich abgebe, und mich anderen zeigen
find-consent-info = Sonst wird nichts behalten, sobald du deine Antwort hast. Für ein Spotify-Profil musst du dafür angemeldet sein.
find-how = So wird verglichen
find-artists = Anzahl der Top-Künstler
find-artists-info = So viele eurer häufigsten Künstler zählen
find-lists = Anzahl der Playlists
find-lists-info = So viele eurer ersten Playlists zählen; { $most } heißt alle
find-shared = Gemeinsame Künstler, mindestens
find-shared-info = 0 heißt: egal
find-examples = Beispiele
find-examples-try = Oder probier
denied = Du bist nicht angemeldet
denied-detail = Du hast bei Spotify abgelehnt oder abgebrochen. Nichts wurde gelesen, und nichts wird behalten.
upload-drop = Leg deine exportierten Dateien hier ab oder wähle sie aus
upload-kinds = CSV von Exportify, Spotifys eigener Export als Zip oder JSON, Scrobbles, Playlists; höchstens { $most } MB
upload-files = Deine exportierten Dateien
upload-sending = Wird gesendet …
upload-failed = Die Dateien konnten nicht gesendet werden. Sind sie zu groß, oder ist die Verbindung weg?

## While an answer is made

progress-reading = Wir lesen, was du hörst …
progress-read = Gelesen.
progress-embedding = Wir lernen deinen Geschmack kennen …
progress-searching = Wir suchen deine Leute …
progress-working = Einen Augenblick …
progress-items =
    { $items ->
        [one] Bisher { $items } Eintrag.
       *[other] Bisher { $items } Einträge.
    }
progress-moment = Das dauert einen Moment.
problem = Das hat nicht geklappt

## Matches

match-percent = { $percent } Übereinstimmung
match-surely = ziemlich sicher: { $percent }
match-probably = wahrscheinlich: { $percent } sicher
match-perhaps = vielleicht: { $percent } sicher
match-genres = Gemeinsame Genres
match-artists = Gemeinsame Künstler
match-new = Das lieben sie, für dich ist es neu
match-more = Mehr
match-more-genres = Weitere Genres
match-more-artists = Weitere Künstler
match-eras = Jahrzehnte
match-more-new = Auch neu für dich
match-tracks = Ihre Lieblingssongs
match-shares = du { $yours } · sie { $theirs }
match-compare = Ganz vergleichen
match-blend = Mix mit ihnen
matches-few =
    { $items ->
        [one] Nur { $items } Eintrag als Grundlage
       *[other] Nur { $items } Einträge als Grundlage
    }
matches-few-detail = Sieh dir diese Leute an, aber noch sind es nicht sicher deine. Mit mehr Playlists wird die Antwort sicherer.
matches-none = Noch niemand
matches-none-detail = So viel hat hier niemand mit dir gemeinsam. Verlange weniger gemeinsame Künstler.
token = Bewahre dieses Token auf
token-detail = Du heißt hier { $user }. Mit dem Token kannst du deine Daten unter „{ tab-mine }“ ansehen, mitnehmen und löschen; niemand kann es dir noch einmal geben.
attribution = Profile, Songs und Künstler mit Links zu Spotify: Metadaten von { $spotify }.

## What was read of files

read-summary =
    { $items ->
        [one] { $items } Eintrag
       *[other] { $items } Einträge
    } in { $lists ->
        [one] { $lists } Liste
       *[other] { $lists } Listen
    } gelesen
read-summary-plays =
    { $items ->
        [one] { $items } Eintrag
       *[other] { $items } Einträge
    } in { $lists ->
        [one] { $lists } Liste
       *[other] { $lists } Listen
    } und { $plays ->
        [one] { $plays } Wiedergabe
       *[other] { $plays } Wiedergaben
    } gelesen
read-file = gelesen: { $file }: { $what }
read-file-encoding = gelesen: { $file }: { $what }, Zeichensatz { $encoding }
read-not = nicht gelesen: { $file }: { $reason }
read-more =
    { $count ->
        [one] und { $count } weitere Datei gelesen
       *[other] und { $count } weitere Dateien gelesen
    }
read-more-not =
    { $count ->
        [one] und { $count } weitere Datei nicht gelesen
       *[other] und { $count } weitere Dateien nicht gelesen
    }
read-left-out =
    { $count ->
        [one] { $count } Zeile ausgelassen: { $reason }
       *[other] { $count } Zeilen ausgelassen: { $reason }
    }
read-rejected =
    { $count ->
        [one] { $count } Zeile abgelehnt: { $reason }
       *[other] { $count } Zeilen abgelehnt: { $reason }
    }
read-values-left-out =
    { $count ->
        [one] { $count } Wert ausgelassen: { $reason }
       *[other] { $count } Werte ausgelassen: { $reason }
    }
read-mended =
    { $count ->
        [one] { $count } Name repariert: seine Buchstaben waren falsch dekodiert
       *[other] { $count } Namen repariert: ihre Buchstaben waren falsch dekodiert
    }

## Compare two

compare = Vergleichen
compare-one = Eine Person
compare-other = Eine andere
compare-begin = lostippen oder auswählen
compare-empty = Zwei Leute nebeneinander
compare-empty-detail = Was sie gemeinsam haben und was sie einander zeigen könnten.
compare-two-needed = Es braucht zwei Leute
compare-two-needed-detail = Gib die IDs von zwei Leuten an, die hier bekannt sind.
compare-both = { $one } und { $other }
compare-alike = Einander ähnlicher als { $percent } aller zufälligen Paare.
compare-genres = Genres
compare-eras = Jahrzehnte
compare-artists = Künstler
compare-nothing = Nichts gemeinsam.
compare-new = Neu für { $user }
compare-picture = Bild zum Teilen

## Blend

blend-empty = Eine Liste für euch alle
blend-empty-detail = Auch wer am wenigsten auf seine Kosten kommt, soll so viel wie möglich davon haben. Bis zu 20 Leute.
blend-who = Für wen ist sie?
blend-begin = Lostippen oder auswählen
blend-add = Dazu
blend-file = Jemand, der nicht hier ist: eine exportierte Datei
blend-people = In diesem Mix
blend-invite = Über diesen Link kommen Freunde dazu und gehen, wann sie wollen:
blend-copy = Kopieren
blend-how = Wie die Liste sein soll
blend-tracks = Songs
blend-known = Anteil, den jemand kennt, in Prozent
blend-without = Nichts von (Künstler, mit Kommas getrennt)
blend-make = Unsere Liste machen
blend-out = Herausnehmen
blend-out-of = { $name } herausnehmen
blend-adding = Wird hinzugefügt …
blend-reading = Die Datei wird gelesen …
blend-making = Die Liste entsteht …
blend-copied = Kopiert
blend-marked = Der Link ist markiert: kopiere ihn mit Strg+C.
blend-two-needed = Füge mindestens zwei Leute hinzu.
blend-impossible = „{ $value }“ geht nicht. Siehe „{ blend-how }“.
blend-you = Du
blend-serves = Wie gut sie zu allen passt
blend-facts =
    { $tracks ->
        [one] { $tracks } Song
       *[other] { $tracks } Songs
    }, { $minutes ->
        [one] { $minutes } Minute
       *[other] { $minutes } Minuten
    }; { $known } davon kennt jemand.
blend-title = Mix von { $names }

## Taste map

map-find = Jemanden suchen
map-show = Zeigen
map-farther = Weiter weg
map-nearer = Näher heran
map-picture = Karte der Leute: Nachbarn haben ähnlichen Geschmack
map-loading = Wird geladen …
map-hover = Fahr über einen Punkt; ein Klick wählt die Person aus.
map-people = ihre Leute finden
map-nobody = Niemand auf der Karte heißt so.
map-failed = Die Karte konnte nicht geladen werden.
map-other = andere

## Search

search = Suchen
search-tracks = Songs suchen
search-tracks-begin = Titel, Künstler, Album oder eine Stimmung
search-empty = Jeder Song
search-empty-detail = Tippfehler machen nichts. Eine leere Suche zeigt, was beliebt ist.
search-popular = Beliebte Songs

## Continue a playlist

continue = Fortsetzen
continue-tracks = Songs
continue-tracks-begin = Links, URIs oder IDs von Songs, je Zeile einer
continue-tracks-info = Auch mit „{ tracks-add }“ bei einer Suche; darf leer bleiben, wenn Titel oder Stimmung genug sagen
continue-title = Titel der Playlist
continue-mood = Stimmung
continue-mood-begin = ruhiger akustischer Abend
continue-popularity = Bekanntheit
continue-popularity-info = -1: Unbekanntes; 1: Hits
continue-diversity = Vielfalt
continue-empty = Wie geht es weiter?
continue-empty-detail = Gib ein paar Songs, einen Titel oder eine Stimmung an.
continue-next = So geht es weiter

## Lists of tracks

tracks-none = Nichts gefunden
tracks-none-detail = Versuch es mit einem anderen Titel, Künstler oder einer anderen Stimmung.
tracks-unknown = { $count } nicht bekannt
tracks-add = Dazu
tracks-add-this = { $track } zur Playlist hinzufügen
tracks-format = Dateiformat
tracks-download = Herunterladen
save = Zu meinem Spotify
save-adding = Wird deinem Konto hinzugefügt …
save-done =
    { $count ->
        [one] „{ $title }“ ist in deinem Konto: { $count } Song.
       *[other] „{ $title }“ ist in deinem Konto: { $count } Songs.
    }
save-missing = { $count } gibt es bei Spotify nicht.
save-failed = Das hat nicht geklappt. Ist die Verbindung weg? Versuch es noch einmal: kein Song kommt doppelt dazu.
failed = Das hat nicht geklappt. Ist die Verbindung weg? Versuch es noch einmal.

## Why a track is in a list

reason-your-tracks = in Playlists mit deinen Songs
reason-last-tracks = in Playlists mit deinen letzten Songs
reason-beside = in Playlists gleich neben deinen Songs
reason-lists = in Playlists wie deinen
reason-artist-lists = Künstler in Playlists wie deinen
reason-your-artists = in Playlists mit deinen Künstlern
reason-artist-near = Künstler in Playlists mit deinen Künstlern
reason-artist = von einem deiner Künstler
reason-title = in Playlists mit so einem Titel
reason-title-artist = Künstler in Playlists mit so einem Titel
reason-names = Titel und Künstler von derselben Art
reason-written = Titel und Künstler passen zu dem, was du geschrieben hast
reason-written-one = Titel oder Künstler steht so in deiner Eingabe
reason-sound = klingt wie deine Songs
reason-mood = klingt, wie du es beschrieben hast
reason-genres = aus denselben Genres
reason-known = weithin bekannt
reason-as-known = etwa so bekannt wie deine Songs
reason-album = von einem deiner Alben
reason-years = aus denselben Jahren
reason-methods = von mehreren Verfahren genannt
reason-near =
    { $near ->
        [one] { $near } der { $all } ähnlichsten Leute hat ihn
       *[other] { $near } der { $all } ähnlichsten Leute haben ihn
    }
reason-fits = passt zu „{ $list }“
reason-has = { $name } hat ihn
reason-listens = { $name } hört den Künstler
reason-may-like = { $name } könnte den Künstler mögen

## My data

mine-empty = Deine Daten gehören dir
mine-empty-detail = Sieh sie an, nimm sie mit oder lass alles löschen.
mine-token = Token einer Datei
mine-token-info = Du hast es bekommen, als du eine Datei abgegeben hast; lass es leer, wenn du angemeldet bist
mine-show = Zeigen, was gespeichert ist
mine-tracks = Songs für mich
mine-take-away = Mitnehmen:
mine-who = Wer bist du?
mine-who-detail = Melde dich mit Spotify an oder füge das Token ein, das du zu einer Datei bekommen hast.
login = Mit Spotify anmelden
login-you = Du bist { $user }.
logout = Abmelden
login-failed = Du bist nicht angemeldet
login-again = Noch einmal versuchen
login-back = zurück
login-again-or-back = { $again } oder { $back }.
forget = Mich vergessen
forget-sure = Alles löschen, was von mir gespeichert ist. Das lässt sich nicht rückgängig machen.
forget-unsure = Bist du sicher?
forget-unsure-detail = Setze zuerst das Häkchen über dem Knopf.
forgotten = Vergessen
forgotten-detail = Alles, was von dir gespeichert war, ist gelöscht.
weekly = Jeden Montag neue Songs
weekly-begin = Jeden Montag eine Liste für mich
weekly-end = Keine Listen mehr
weekly-show = Meine Liste zeigen
weekly-begun = Jeden Montag
weekly-begun-detail = Die erste Liste kommt mit dem nächsten Lauf.
weekly-ended-detail = Die fertigen Listen verschwinden mit dem nächsten Lauf.
weekly-none = Noch keine Liste
weekly-none-detail = Bestell eine. Sie kommt mit dem nächsten Lauf.
weekly-unmade = Keine Liste für { $week }
weekly-title = Montag { $week }

card = Eine Karte zum Zeigen
card-begin = Alle dürfen meine Karte sehen
card-end = Niemand mehr
card-begun = Alle dürfen sie sehen
card-begun-detail = Setz das auf deine Seite; das Bild geht mit deinem Geschmack mit.
card-later = Sie ist noch nicht da
card-later-detail = Sie kommt mit dem nächsten Lauf, wenn andere von dir erfahren dürfen. Setz dann das auf deine Seite.
card-ended = Niemand sieht sie mehr
card-ended-detail = Andere Seiten dürfen das Bild eine Stunde lang behalten.
stored-tracks =
    { $count ->
        [one] { $count } Song
       *[other] { $count } Songs
    }
stored-artists = { $count } Künstler
stored-lists =
    { $count ->
        [one] { $count } Playlist
       *[other] { $count } Playlists
    }
stored-user = Du bist
stored-source = Es kam von
stored-nowhere = nirgends
stored-read = Gelesen
stored-not-yet = noch nicht
stored-told = Andere dürfen von dir erfahren
stored-weekly = Jeden Montag eine Liste
stored-card = Alle dürfen deine Karte sehen
stored-compared = Du wirst mit anderen verglichen
stored-left-out = Ausgelassen
stored-items =
    { $items ->
        [one] { $items } Eintrag
       *[other] { $items } Einträge
    }
stored-rows = Zeilen in den Tabellen
stored-rows-in = { $count } in { $table }
stored-playlists = Deine Listen
stored-playlist =
    { $items ->
        [one] { $name }: { $items } Eintrag
       *[other] { $name }: { $items } Einträge
    }
stored-nameless = ohne Namen
stored-yes = ja
stored-no = nein
counts = Was zählt
counts-hint = Drück auf das, was für deinen Geschmack nicht zählt, etwa Kinderlieder. Drück noch einmal, dann zählt es wieder.
counts-artist = Künstler
counts-genre = Genres
counts-playlist = Deine Playlists
counts-said =
    { $count ->
        [one] Notiert. { $count } von deinen { $items } Einträgen zählt nicht.
       *[other] Notiert. { $count } von deinen { $items } Einträgen zählen nicht.
    }
counts-failed = Das hat nicht geklappt. Ist die Verbindung weg? Drück noch einmal.
feedback-not-for-me = Nichts für mich
feedback-more-like = Mehr davon
over-time = Dein Geschmack im Lauf der Zeit
over-time-table = { $kind } im Lauf der Zeit
over-time-none = Nirgends steht, wann das gehört wurde. Verläufe von Spotify, Exporte von ListenBrainz oder Last.fm und Listen mit der Spalte 'Added At' sagen es: gib so etwas ab, mit spotify-dag add oder in der App.
over-time-genres = Genre
over-time-eras = Jahrzehnt
over-time-came = Was dazukam
over-time-went = Was verschwand
over-time-spans = Damals: { $then_from } bis { $then_to }. Jetzt: { $now_from } bis { $now_to }.
