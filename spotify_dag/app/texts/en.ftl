# What the pages say. To translate them, copy this file to <language>.ftl, translate what stands right of each "=", and
# name the language in texts.py. The syntax is Fluent's: https://projectfluent.org/fluent/guide/
# What stands in braces is put in by the app. No text holds < > & or a straight double quote.

page-title = { $name }: people who listen like you
page-claim = People who listen like you, why, and what they would play you next.

## The tabs

tab-compare = Compare two
tab-blend = Blend
tab-map = Taste map
tab-search = Search
tab-continue = Continue a playlist
tab-mine = My data

## Find my people

find = Find my people
find-empty = Who listens like you?
find-empty-detail = Paste a profile, or drop a file you exported. Nothing is kept.
find-profile = Profile
find-profile-info = Of Spotify (URL, URI or user id) or ListenBrainz (https://listenbrainz.org/user/…)
find-nobody = Whose profile?
find-nobody-detail = Paste the link from Spotify: Profile, Share, Copy link.
find-consent = Keep what I hand in, and show me to others
find-consent-info = Without this nothing is kept once you have your answer. A Spotify profile needs your login for it.
find-how = How to compare
find-artists = Top artist count
find-artists-info = Your and their most frequent artists that count
find-lists = Playlists count
find-lists-info = Your and their first playlists that count; { $most } for all
find-shared = Artists in common, at least
find-shared-info = 0 for anybody
find-examples = Examples
find-examples-try = Or try
denied = You have not logged in
denied-detail = Spotify was told no, or stopped. Nothing was read, and nothing is kept.
upload-drop = Drop the files you exported, or choose them
upload-kinds = Exportify CSV, Spotify's own export as zip or JSON, scrobbles, playlists; at most { $most } MB
upload-files = Files you exported
upload-sending = Sending …
upload-failed = The files could not be sent. Are they too large, or the connection gone?

## While an answer is made

progress-reading = Reading what you listen to …
progress-read = Read.
progress-embedding = Working out your taste …
progress-searching = Looking for your people …
progress-working = Working …
progress-items =
    { $items ->
        [one] { $items } item so far.
       *[other] { $items } items so far.
    }
progress-moment = This takes a moment.
problem = That did not work

## Matches

match-percent = { $percent } match
match-surely = surely: { $percent } sure
match-probably = probably: { $percent } sure
match-perhaps = perhaps: { $percent } sure
match-genres = Genres you share
match-artists = Artists you share
match-new = They love, new to you
match-more = More
match-more-genres = More genres
match-more-artists = More artists
match-eras = Eras
match-more-new = Also new to you
match-tracks = Their top tracks
match-shares = you { $yours } · they { $theirs }
match-compare = Compare in full
match-blend = Blend with them
matches-few =
    { $items ->
        [one] Only { $items } item to go by
       *[other] Only { $items } items to go by
    }
matches-few-detail = These are people to look at, not yet your people. With more playlists the answer becomes surer.
matches-none = Nobody yet
matches-none-detail = Nobody here shares that much. Ask for fewer artists in common.
token = Keep this token
token-detail = You are { $user } here. With the token you see, take away and delete your data under “{ tab-mine }”; nobody can give it to you again.
attribution = Profiles, tracks and artists with links to Spotify: metadata by { $spotify }.

## What was read of files

read-summary =
    { $items ->
        [one] { $items } item
       *[other] { $items } items
    } in { $lists ->
        [one] { $lists } list
       *[other] { $lists } lists
    } were read
read-summary-plays =
    { $items ->
        [one] { $items } item
       *[other] { $items } items
    } in { $lists ->
        [one] { $lists } list
       *[other] { $lists } lists
    }, { $plays ->
        [one] { $plays } play
       *[other] { $plays } plays
    } were read
read-file = read { $file }: { $what }
read-file-encoding = read { $file }: { $what }, read as { $encoding }
read-not = not read { $file }: { $reason }
read-more =
    { $count ->
        [one] and { $count } more file read
       *[other] and { $count } more files read
    }
read-more-not =
    { $count ->
        [one] and { $count } more file not read
       *[other] and { $count } more files not read
    }
read-left-out =
    { $count ->
        [one] { $count } row left out: { $reason }
       *[other] { $count } rows left out: { $reason }
    }
read-rejected =
    { $count ->
        [one] { $count } row rejected: { $reason }
       *[other] { $count } rows rejected: { $reason }
    }
read-values-left-out =
    { $count ->
        [one] { $count } value left out: { $reason }
       *[other] { $count } values left out: { $reason }
    }
read-mended =
    { $count ->
        [one] { $count } name mended: its letters had been decoded wrongly
       *[other] { $count } names mended: their letters had been decoded wrongly
    }

## Compare two

compare = Compare
compare-one = One listener
compare-other = Another
compare-begin = begin to type, or choose
compare-empty = Two listeners, side by side
compare-empty-detail = What they share, and what each could show the other.
compare-two-needed = Two listeners are needed
compare-two-needed-detail = Give two ids of listeners who are known here.
compare-both = { $one } and { $other }
compare-alike = More alike than { $percent } of random pairs of listeners.
compare-genres = Genres
compare-eras = Eras
compare-artists = Artists
compare-nothing = Nothing in common.
compare-new = New to { $user }
compare-picture = Picture to share

## Blend

blend-empty = One list for all of you
blend-empty-detail = It serves whoever is served least as well as can be. Up to 20 people.
blend-who = Who is it for?
blend-begin = Begin to type, or choose
blend-add = Add
blend-file = Somebody who is not here: a file they exported
blend-people = In this blend
blend-invite = Friends join with this link, and leave when they like:
blend-copy = Copy
blend-how = How it shall be
blend-tracks = Tracks
blend-known = Share that somebody knows, in percent
blend-without = Nothing by (artists, with commas between)
blend-make = Make our list
blend-out = Take out
blend-out-of = Take { $name } out
blend-adding = Adding …
blend-reading = Reading the file …
blend-making = Making the list …
blend-copied = Copied
blend-marked = It is marked: copy it with Ctrl+C.
blend-two-needed = Add at least two people.
blend-impossible = “{ $value }” is not possible. See “{ blend-how }”.
blend-you = You
blend-serves = How well it serves each
blend-facts =
    { $tracks ->
        [one] { $tracks } track
       *[other] { $tracks } tracks
    }, { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }; { $known } known to somebody.
blend-title = Blend of { $names }

## Taste map

map-find = Find a listener
map-show = Show
map-farther = Farther
map-nearer = Nearer
map-picture = Map of listeners: neighbours have similar taste
map-loading = Loading …
map-hover = Hover over a dot; click it to choose the listener.
map-people = find their people
map-nobody = Nobody of that name is on the map.
map-failed = The map could not be loaded.
map-other = other

## Search

search = Search
search-tracks = Search tracks
search-tracks-begin = title, artist, album, or a mood
search-empty = Any song
search-empty-detail = Typos do not matter. An empty search shows what is popular.
search-popular = Popular tracks

## Continue a playlist

continue = Continue
continue-tracks = Tracks
continue-tracks-begin = Links, URIs or ids of tracks, one a line
continue-tracks-info = Picked by “{ tracks-add }” at a search, too; may stay empty where a title or a mood says enough
continue-title = Title of the playlist
continue-mood = Mood
continue-mood-begin = calm acoustic evening
continue-popularity = Popularity
continue-popularity-info = -1: unknown tracks; 1: hits
continue-diversity = Diversity
continue-empty = What comes next?
continue-empty-detail = Give some tracks, a title or a mood.
continue-next = What comes next

## Lists of tracks

tracks-none = Nothing found
tracks-none-detail = Try another title, artist or mood.
tracks-unknown = { $count } not known
tracks-add = Add
tracks-add-this = Add { $track } to the playlist
tracks-format = Format
tracks-download = Download
save = Add to my Spotify
save-adding = Adding it to your account …
save-done =
    { $count ->
        [one] “{ $title }” is in your account: { $count } track.
       *[other] “{ $title }” is in your account: { $count } tracks.
    }
save-missing =
    { $count ->
        [one] { $count } is not at Spotify.
       *[other] { $count } are not at Spotify.
    }
save-failed = That did not work. Is the connection gone? Try again: no track is added twice.
failed = That did not work. Is the connection gone? Try again.

## Why a track is in a list

reason-your-tracks = in playlists with your tracks
reason-last-tracks = in playlists with your last tracks
reason-beside = next to your tracks in playlists
reason-lists = in playlists like yours
reason-artist-lists = artist in playlists like yours
reason-your-artists = in playlists with your artists
reason-artist-near = artist in playlists with your artists
reason-artist = an artist of yours
reason-title = in playlists with such a title
reason-title-artist = artist in playlists with such a title
reason-names = a title and artist of the same kind
reason-written = title and artist fit what you wrote
reason-written-one = title or artist is what you wrote
reason-sound = sounds like your tracks
reason-mood = sounds as you described
reason-genres = of the same genres
reason-known = widely known
reason-as-known = about as well known as your tracks
reason-album = from an album of yours
reason-years = from the same years
reason-methods = named by several methods
reason-near = { $near } of the { $all } nearest listeners have it
reason-fits = fits your “{ $list }”
reason-has = { $name } has it
reason-listens = { $name } listens to the artist
reason-may-like = { $name } may like the artist

## My data

mine-empty = Your data is yours
mine-empty-detail = See it, take it away, or have all of it deleted.
mine-token = Token of a file
mine-token-info = What you were given when you handed in a file; leave it empty if you have logged in
mine-show = Show what is stored
mine-tracks = Tracks for me
mine-take-away = Take it away:
mine-who = Who are you?
mine-who-detail = Log in with Spotify, or paste the token you were given with a file.
login = Log in with Spotify
login-you = You are { $user }.
logout = Log out
login-failed = You are not logged in
login-again = Try again
login-back = go back
login-again-or-back = { $again } or { $back }.
forget = Forget me
forget-sure = Delete everything that is stored of me. This cannot be undone.
forget-unsure = Are you sure?
forget-unsure-detail = Tick the box above the button first.
forgotten = Forgotten
forgotten-detail = Everything that was stored of you has been deleted.
weekly = New tracks every Monday
weekly-begin = Make me a list every Monday
weekly-end = No more lists
weekly-show = Show my list
weekly-begun = Every Monday
weekly-begun-detail = The first list comes with the next run.
weekly-ended-detail = Those that were made go with the next run.
weekly-none = No list yet
weekly-none-detail = Ask for one. It comes with the next run.
weekly-unmade = No list for { $week }
weekly-title = Monday { $week }

card = A card to show elsewhere
card-begin = Anybody may see my card
card-end = Nobody any more
card-begun = Anybody may see it
card-begun-detail = Put this on a page of yours; the picture follows your taste.
card-later = It is not there yet
card-later-detail = It comes with the next run, if others may be told of you. Then put this on a page of yours.
card-ended = Nobody sees it any more
card-ended-detail = Other sites may keep the picture for an hour.
stored-tracks =
    { $count ->
        [one] { $count } track
       *[other] { $count } tracks
    }
stored-artists =
    { $count ->
        [one] { $count } artist
       *[other] { $count } artists
    }
stored-lists =
    { $count ->
        [one] { $count } playlist
       *[other] { $count } playlists
    }
stored-user = You are
stored-source = It came from
stored-nowhere = nowhere
stored-read = Read
stored-not-yet = not yet
stored-told = Others may be told of you
stored-weekly = A list every Monday
stored-card = Anybody may see your card
stored-compared = You are compared with others
stored-left-out = Left out
stored-items =
    { $items ->
        [one] { $items } item
       *[other] { $items } items
    }
stored-rows = Rows in the tables
stored-rows-in = { $count } in { $table }
stored-playlists = Playlists
stored-playlist =
    { $items ->
        [one] { $name }: { $items } item
       *[other] { $name }: { $items } items
    }
stored-nameless = without a name
stored-yes = yes
stored-no = no
counts = What counts
counts-hint = Press what does not count for your taste, such as songs for children. Press again to undo it.
counts-artist = Artists
counts-genre = Genres
counts-playlist = Your playlists
counts-said =
    { $count ->
        [one] Said. { $count } of your { $items } items does not count.
       *[other] Said. { $count } of your { $items } items do not count.
    }
counts-failed = That did not work. Is the connection gone? Press again.
feedback-not-for-me = Not for me
feedback-more-like = More like this
over-time = Taste over time
over-time-table = { $kind } over time
over-time-none = Nothing tells when this was heard. Histories of Spotify, exports of ListenBrainz or Last.fm, and lists with the column 'Added At' do: hand one in, with spotify-dag add or in the app.
over-time-genres = Genre
over-time-eras = Era
over-time-came = What came
over-time-went = What went
over-time-spans = Then: { $then_from } to { $then_to }. Now: { $now_from } to { $now_to }.
