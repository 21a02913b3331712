// Style sheets, which Vite takes out of the modules that import them.

declare module '*.css';
