page-title = { $name }: gente que escucha como tú
page-claim = Gente que escucha como tú, por qué, y qué te pondría a continuación.

## The tabs

tab-compare = Comparar dos
tab-blend = Mezcla
tab-map = Mapa de gustos
tab-search = Búsqueda
tab-continue = Continuar una lista
tab-mine = Mis datos

## Find my people

find = Encontrar a mi gente
find-empty = ¿Quién escucha como tú?
find-empty-detail = Pega un perfil o suelta un archivo que hayas exportado. No se guarda nada.
find-profile = Perfil
find-profile-info = De Spotify (URL, URI o id de usuario) o de ListenBrainz (https://listenbrainz.org/user/…)
find-nobody = ¿De quién es el perfil?
find-nobody-detail = Pega el enlace de Spotify: Perfil, Compartir, Copiar enlace.
find-consent = Guardar lo que entrego y mostrarme a otras personas
find-consent-info = Si no, no se guarda nada una vez que tengas tu respuesta. Para un perfil de Spotify tienes que iniciar sesión.
find-how = Cómo comparar
find-artists = Número de artistas principales
find-artists-info = Cuántos de tus artistas más frecuentes y de los suyos cuentan
find-lists = Número de listas
find-lists-info = Cuántas de tus primeras listas y de las suyas cuentan; { $most } para todas
find-shared = Artistas en común, como mínimo
find-shared-info = 0 para cualquiera
find-examples = Ejemplos
find-examples-try = O prueba con
denied = No has iniciado sesión
denied-detail = Dijiste que no en Spotify o lo dejaste. No se ha leído nada y no se guarda nada.
upload-drop = Suelta aquí los archivos que exportaste o elígelos
upload-kinds = CSV de Exportify, la exportación de Spotify en zip o JSON, scrobbles, listas; { $most } MB como máximo
upload-files = Archivos que exportaste
upload-sending = Enviando …
upload-failed = No se han podido enviar los archivos. ¿Son demasiado grandes o se ha perdido la conexión?

## While an answer is made

progress-reading = Leyendo lo que escuchas …
progress-read = Leído.
progress-embedding = Calculando tus gustos …
progress-searching = Buscando a tu gente …
progress-working = Trabajando …
progress-items =
    { $items ->
        [one] { $items } elemento hasta ahora.
       *[other] { $items } elementos hasta ahora.
    }
progress-moment = Tarda un momento.
problem = No ha funcionado

## Matches

match-percent = { $percent } de coincidencia
match-surely = casi seguro: { $percent }
match-probably = probable: { $percent }
match-perhaps = quizás: { $percent }
match-genres = Géneros en común
match-artists = Artistas en común
match-new = Les encanta y es nuevo para ti
match-more = Más
match-more-genres = Más géneros
match-more-artists = Más artistas
match-eras = Décadas
match-more-new = También nuevo para ti
match-tracks = Sus canciones favoritas
match-shares = tú { $yours } · ellos { $theirs }
match-compare = Comparar a fondo
match-blend = Mezclar gustos
matches-few =
    { $items ->
        [one] Solo { $items } elemento en que basarse
       *[other] Solo { $items } elementos en que basarse
    }
matches-few-detail = Échale un vistazo a esta gente, pero aún no es seguro que sea la tuya. Con más listas la respuesta será más segura.
matches-none = Nadie todavía
matches-none-detail = Nadie comparte tanto contigo. Pide menos artistas en común.
token = Guarda este código
token-detail = Aquí eres { $user }. Con el código puedes ver, llevarte y borrar tus datos en «{ tab-mine }»; nadie puede dártelo otra vez.
attribution = Perfiles, canciones y artistas con enlaces a Spotify: metadatos de { $spotify }.

## What was read of files

read-summary =
    { $items ->
        [one] { $items } elemento leído
       *[other] { $items } elementos leídos
    } en { $lists ->
        [one] { $lists } lista
       *[other] { $lists } listas
    }
read-summary-plays =
    { $items ->
        [one] { $items } elemento leído
       *[other] { $items } elementos leídos
    } en { $lists ->
        [one] { $lists } lista
       *[other] { $lists } listas
    }, { $plays ->
        [one] { $plays } reproducción
       *[other] { $plays } reproducciones
    }
read-file = leído { $file }: { $what }
read-file-encoding = leído { $file }: { $what }, codificado en { $encoding }
read-not = no leído { $file }: { $reason }
read-more =
    { $count ->
        [one] y { $count } archivo más leído
       *[other] y { $count } archivos más leídos
    }
read-more-not =
    { $count ->
        [one] y { $count } archivo más sin leer
       *[other] y { $count } archivos más sin leer
    }
read-left-out =
    { $count ->
        [one] { $count } fila omitida: { $reason }
       *[other] { $count } filas omitidas: { $reason }
    }
read-rejected =
    { $count ->
        [one] { $count } fila rechazada: { $reason }
       *[other] { $count } filas rechazadas: { $reason }
    }
read-values-left-out =
    { $count ->
        [one] { $count } valor omitido: { $reason }
       *[other] { $count } valores omitidos: { $reason }
    }
read-mended =
    { $count ->
        [one] { $count } nombre reparado: sus letras estaban mal decodificadas
       *[other] { $count } nombres reparados: sus letras estaban mal decodificadas
    }

## Compare two

compare = Comparar
compare-one = Una persona
compare-other = Otra persona
compare-begin = empieza a escribir o elige
compare-empty = Dos personas, frente a frente
compare-empty-detail = Qué comparten y qué podría mostrarle cada una a la otra.
compare-two-needed = Hacen falta dos personas
compare-two-needed-detail = Escribe los ids de dos personas que estén aquí.
compare-both = { $one } y { $other }
compare-alike = Se parecen más que el { $percent } de las parejas al azar.
compare-genres = Géneros
compare-eras = Décadas
compare-artists = Artistas
compare-nothing = Nada en común.
compare-new = Nuevo para { $user }
compare-picture = Imagen para compartir

## Blend

blend-empty = Una lista para todo el grupo
blend-empty-detail = Busca que hasta la persona menos favorecida salga lo mejor posible. Hasta 20 personas.
blend-who = ¿Para quién es?
blend-begin = Empieza a escribir o elige
blend-add = Añadir
blend-file = Alguien que no está aquí: un archivo que haya exportado
blend-people = En esta mezcla
blend-invite = Con este enlace tus amistades entran, y salen cuando quieran:
blend-copy = Copiar
blend-how = Cómo debe ser
blend-tracks = Canciones
blend-known = Parte que alguien ya conoce, en porcentaje
blend-without = Nada de (artistas, separados por comas)
blend-make = Hacer nuestra lista
blend-out = Quitar
blend-out-of = Quitar a { $name }
blend-adding = Añadiendo …
blend-reading = Leyendo el archivo …
blend-making = Haciendo la lista …
blend-copied = Copiado
blend-marked = Está seleccionado: cópialo con Ctrl+C.
blend-two-needed = Añade al menos a dos personas.
blend-impossible = «{ $value }» no es posible. Mira «{ blend-how }».
blend-you = Tú
blend-serves = Cuánto le gusta a cada persona
blend-facts =
    { $tracks ->
        [one] { $tracks } canción
       *[other] { $tracks } canciones
    }, { $minutes ->
        [one] { $minutes } minuto
       *[other] { $minutes } minutos
    }; alguien conoce el { $known }.
blend-title = Mezcla de { $names }

## Taste map

map-find = Buscar a alguien
map-show = Mostrar
map-farther = Alejar
map-nearer = Acercar
map-picture = Mapa de personas: quienes están cerca tienen gustos parecidos
map-loading = Cargando …
map-hover = Pasa por encima de un punto; haz clic para elegir a esa persona.
map-people = encontrar a su gente
map-nobody = Nadie con ese nombre está en el mapa.
map-failed = No se ha podido cargar el mapa.
map-other = otros

## Search

search = Buscar
search-tracks = Buscar canciones
search-tracks-begin = título, artista, álbum o un estado de ánimo
search-empty = Cualquier canción
search-empty-detail = Las erratas no importan. Una búsqueda vacía muestra lo más popular.
search-popular = Canciones populares

## Continue a playlist

continue = Continuar
continue-tracks = Canciones
continue-tracks-begin = Enlaces, URI o ids de canciones, uno por línea
continue-tracks-info = También con «{ tracks-add }» en una búsqueda; puede quedar vacío si basta un título o un estado de ánimo
continue-title = Título de la lista
continue-mood = Estado de ánimo
continue-mood-begin = noche acústica tranquila
continue-popularity = Popularidad
continue-popularity-info = -1: canciones desconocidas; 1: éxitos
continue-diversity = Variedad
continue-empty = ¿Qué viene después?
continue-empty-detail = Escribe unas canciones, un título o un estado de ánimo.
continue-next = Lo que viene después

## Lists of tracks

tracks-none = No hay resultados
tracks-none-detail = Prueba con otro título, artista o estado de ánimo.
tracks-unknown = { $count } sin identificar
tracks-add = Añadir
tracks-add-this = Añadir { $track } a la lista
tracks-format = Formato
tracks-download = Descargar
save = Añadir a mi Spotify
save-adding = Añadiendo a tu cuenta …
save-done =
    { $count ->
        [one] «{ $title }» está en tu cuenta: { $count } canción.
       *[other] «{ $title }» está en tu cuenta: { $count } canciones.
    }
save-missing =
    { $count ->
        [one] { $count } no está en Spotify.
       *[other] { $count } no están en Spotify.
    }
save-failed = No ha funcionado. ¿Se ha perdido la conexión? Inténtalo otra vez: ninguna canción se añade dos veces.
failed = No ha funcionado. ¿Se ha perdido la conexión? Inténtalo otra vez.

## Why a track is in a list

reason-your-tracks = en listas con tus canciones
reason-last-tracks = en listas con tus últimas canciones
reason-beside = junto a tus canciones en otras listas
reason-lists = en listas como las tuyas
reason-artist-lists = artista en listas como las tuyas
reason-your-artists = en listas con tus artistas
reason-artist-near = artista en listas con tus artistas
reason-artist = de artistas que escuchas
reason-title = en listas con un título así
reason-title-artist = artista en listas con un título así
reason-names = título y artista del mismo estilo
reason-written = el título y el artista encajan con lo que escribiste
reason-written-one = el título o el artista es lo que escribiste
reason-sound = suena como tus canciones
reason-mood = suena como lo describiste
reason-genres = de los mismos géneros
reason-known = muy conocida
reason-as-known = más o menos tan conocida como tus canciones
reason-album = de uno de tus álbumes
reason-years = de los mismos años
reason-methods = propuesta por varios métodos
reason-near =
    { $near ->
        [one] la tiene { $near } de las { $all } personas más cercanas
       *[other] la tienen { $near } de las { $all } personas más cercanas
    }
reason-fits = encaja en «{ $list }»
reason-has = { $name } la tiene
reason-listens = { $name } escucha al artista
reason-may-like = a { $name } le puede gustar el artista

## My data

mine-empty = Tus datos son tuyos
mine-empty-detail = Míralos, llévatelos o haz que se borre todo.
mine-token = Código de un archivo
mine-token-info = Te lo dieron cuando entregaste un archivo; déjalo vacío si has iniciado sesión
mine-show = Mostrar lo que está guardado
mine-tracks = Canciones para mí
mine-take-away = Llévatelo:
mine-who = ¿Quién eres?
mine-who-detail = Inicia sesión con Spotify o pega el código que te dieron con un archivo.
login = Iniciar sesión con Spotify
login-you = Eres { $user }.
logout = Cerrar sesión
login-failed = No has iniciado sesión
login-again = Inténtalo otra vez
login-back = vuelve atrás
login-again-or-back = { $again } o { $back }.
forget = Olvidarme
forget-sure = Borrar todo lo que está guardado de mí. No se puede deshacer.
forget-unsure = ¿Seguro?
forget-unsure-detail = Marca primero la casilla que está encima del botón.
forgotten = Todo olvidado
forgotten-detail = Se ha borrado todo lo que estaba guardado de ti.
weekly = Canciones nuevas cada lunes
weekly-begin = Quiero una lista cada lunes
weekly-end = No más listas
weekly-show = Mostrar mi lista
weekly-begun = Cada lunes
weekly-begun-detail = La primera lista llega con la próxima actualización.
weekly-ended-detail = Las listas hechas se borran con la próxima actualización.
weekly-none = Todavía no hay lista
weekly-none-detail = Pide una. Llega con la próxima actualización.
weekly-unmade = No hay lista para { $week }
weekly-title = Lunes { $week }

card = Una tarjeta para mostrar
card-begin = Cualquiera puede ver mi tarjeta
card-end = Ya nadie
card-begun = Cualquiera puede verla
card-begun-detail = Pon esto en tu página; la imagen sigue a tu gusto.
card-later = Todavía no está
card-later-detail = Llega con la próxima actualización, si otras personas pueden saber de ti. Entonces pon esto en tu página.
card-ended = Ya nadie la ve
card-ended-detail = Otros sitios pueden guardar la imagen una hora.
stored-tracks =
    { $count ->
        [one] { $count } canción
       *[other] { $count } canciones
    }
stored-artists =
    { $count ->
        [one] { $count } artista
       *[other] { $count } artistas
    }
stored-lists =
    { $count ->
        [one] { $count } lista
       *[other] { $count } listas
    }
stored-user = Eres
stored-source = Viene de
stored-nowhere = ninguna parte
stored-read = Leído
stored-not-yet = todavía no
stored-told = Se puede hablar de ti a otras personas
stored-weekly = Una lista cada lunes
stored-card = Cualquiera puede ver tu tarjeta
stored-compared = Se te compara con otras personas
stored-left-out = No cuentan
stored-items =
    { $items ->
        [one] { $items } elemento
       *[other] { $items } elementos
    }
stored-rows = Filas en las tablas
stored-rows-in = { $count } en { $table }
stored-playlists = Listas
stored-playlist =
    { $items ->
        [one] { $name }: { $items } elemento
       *[other] { $name }: { $items } elementos
    }
stored-nameless = sin nombre
stored-yes = sí
stored-no = no
counts = Lo que cuenta
counts-hint = Pulsa lo que no cuenta para tus gustos, por ejemplo canciones infantiles. Pulsa otra vez para deshacerlo.
counts-artist = Artistas
counts-genre = Géneros
counts-playlist = Tus listas
counts-said =
    { $count ->
        [one] Anotado. { $count } de tus { $items } elementos no cuenta.
       *[other] Anotado. { $count } de tus { $items } elementos no cuentan.
    }
counts-failed = No ha funcionado. ¿Se ha perdido la conexión? Pulsa otra vez.
feedback-not-for-me = No es para mí
feedback-more-like = Más como esta
over-time = Tus gustos a lo largo del tiempo
over-time-table = { $kind } a lo largo del tiempo
over-time-none = Nada indica cuándo se escuchó. Lo indican los historiales de Spotify, las exportaciones de ListenBrainz o Last.fm y las listas con la columna 'Added At': entrega algo así, con spotify-dag add o en la app.
over-time-genres = Género
over-time-eras = Década
over-time-came = Lo que llegó
over-time-went = Lo que se fue
over-time-spans = Antes: de { $then_from } a { $then_to }. Ahora: de { $now_from } a { $now_to }.
