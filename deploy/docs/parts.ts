/** What is generated in which file. */
import { SETTINGS } from '../../shared/config/config.js';
import { LOCAL_SETTINGS } from '../local/local-config.js';
import type { Parts } from './generated.js';
import { settingsTable } from './settings.js';

/** By path from the folder of the project. */
export const GENERATED: Readonly<Record<string, Parts>> = {
  'deploy/README.md': {
    'settings of npm start': settingsTable(LOCAL_SETTINGS),
    ...Object.fromEntries(
      Object.entries(SETTINGS).map(([part, settings]) => [`settings of ${part}`, settingsTable(settings)]),
    ),
  },
};
