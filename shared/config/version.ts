/** Version of this build, as package.json has it; a unit test holds the two together. */
export const VERSION = '0.1.0';
