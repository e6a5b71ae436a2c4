"""Signs and greetings in nine languages, in letters that DejaVu Sans has."""

LANGUAGES = ("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Swedish")
TRANSLATIONS = tuple(
    tuple(line.split("|"))
    for line in (
        "Open|Geöffnet|Ouvert|Abierto|Aperto|Aberto|Open|Otwarte|Öppet",
        "Closed|Geschlossen|Fermé|Cerrado|Chiuso|Fechado|Gesloten|Zamknięte|Stängt",
        "Welcome|Willkommen|Bienvenue|Bienvenidos|Benvenuti|Bem-vindos|Welkom|Witamy|Välkommen",
        "Thank you|Danke|Merci|Gracias|Grazie|Obrigado|Dank u|Dziękuję|Tack",
        "Good morning|Guten Morgen|Bonjour|Buenos días|Buongiorno|Bom dia|Goedemorgen|Dzień dobry|God morgon",
        "Good night|Gute Nacht|Bonne nuit|Buenas noches|Buonanotte|Boa noite|Goedenacht|Dobranoc|God natt",
        "Exit|Ausgang|Sortie|Salida|Uscita|Saída|Uitgang|Wyjście|Utgång",
        "Entrance|Eingang|Entrée|Entrada|Ingresso|Entrada|Ingang|Wejście|Ingång",
        "Bread|Brot|Pain|Pan|Pane|Pão|Brood|Chleb|Bröd",
        "Coffee|Kaffee|Café|Café|Caffè|Café|Koffie|Kawa|Kaffe",
        "Water|Wasser|Eau|Agua|Acqua|Água|Water|Woda|Vatten",
        "Danger|Gefahr|Danger|Peligro|Pericolo|Perigo|Gevaar|Niebezpieczeństwo|Fara",
        "Please wait|Bitte warten|Veuillez patienter|Espere, por favor|Attendere prego|Aguarde, por favor|"
        "Even wachten a.u.b.|Proszę czekać|Var god vänta",
        "No smoking|Rauchen verboten|Interdit de fumer|Prohibido fumar|Vietato fumare|Proibido fumar|Verboden te roken|"
        "Zakaz palenia|Rökning förbjuden",
        "Happy birthday|Alles Gute zum Geburtstag|Joyeux anniversaire|Feliz cumpleaños|Buon compleanno|"
        "Feliz aniversário|Gefeliciteerd|Wszystkiego najlepszego|Grattis på födelsedagen",
        "Station|Bahnhof|Gare|Estación|Stazione|Estação|Station|Dworzec|Station",
        "Library|Bibliothek|Bibliothèque|Biblioteca|Biblioteca|Biblioteca|Bibliotheek|Biblioteka|Bibliotek",
        "Summer|Sommer|Été|Verano|Estate|Verão|Zomer|Lato|Sommar",
        "Winter|Winter|Hiver|Invierno|Inverno|Inverno|Winter|Zima|Vinter",
        "Free|Kostenlos|Gratuit|Gratis|Gratuito|Grátis|Gratis|Za darmo|Gratis",
        "New|Neu|Nouveau|Nuevo|Nuovo|Novo|Nieuw|Nowość|Nytt",
        "Sold out|Ausverkauft|Complet|Agotado|Esaurito|Esgotado|Uitverkocht|Wyprzedane|Slutsålt",
        "My house|Mein Haus|Ma maison|Mi casa|La mia casa|A minha casa|Mijn huis|Mój dom|Mitt hus",
        "The sea|Das Meer|La mer|El mar|Il mare|O mar|De zee|Morze|Havet",
    )
)
"""The same words in each of LANGUAGES."""
